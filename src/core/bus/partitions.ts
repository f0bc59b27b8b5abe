const MULTIPLIER = 0x5bd1e995;
const SHIFT = 24;
/** the seed of Kafka's clients, so that their partitioner and ours agree */
const SEED = 0x9747b28c;

const UTF8 = new TextEncoder();

/** murmur2 by Austin Appleby as Kafka's clients compute it; a signed 32-bit number. */
export function murmur2(bytes: Uint8Array): number {
  let hash = SEED ^ bytes.length;
  const whole = bytes.length & ~3;
  for (let at = 0; at < whole; at += 4) {
    let word = bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
    word = Math.imul(word, MULTIPLIER);
    word ^= word >>> SHIFT;
    hash = Math.imul(hash, MULTIPLIER) ^ Math.imul(word, MULTIPLIER);
  }
  const left = bytes.length - whole;
  if (left >= 3) hash ^= bytes[whole + 2] << 16;
  if (left >= 2) hash ^= bytes[whole + 1] << 8;
  if (left >= 1) hash = Math.imul(hash ^ bytes[whole], MULTIPLIER);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, MULTIPLIER);
  return hash ^ (hash >>> 15);
}

/** The partition of a key (a symbol) among `partitions`: as Kafka's default partitioner for the same bytes. */
export function partitionOf(key: string, partitions: number): number {
  return partitions === 1 ? 0 : (murmur2(UTF8.encode(key)) & 0x7fffffff) % partitions;
}

/** A record's partition, and what determines the right one. */
export interface Placed {
  partition: number;
  /** the symbol in its content; null when there is none */
  symbol: string | null;
}

/**
 * The partition that a record must be forwarded to; null when it is in the right one. Foreign programs (kcat, redis-cli)
 * choose partitions by rules of their own; a symbol in two partitions would have two states. A record without a symbol
 * stays where it is: its reader refuses it.
 */
export function forwardTo({ partition, symbol }: Placed, partitions: number): number | null {
  if (symbol === null || partitions === 1) return null;
  const right = partitionOf(symbol, partitions);
  return right === partition ? null : right;
}

/** A live member of a group and the number of partitions it owns. */
export interface Holder {
  name: string;
  held: number;
}

/**
 * How many of `partitions` each member should own: shares differ by at most one, and the larger ones go to members that
 * already own more (then by name), so that a member joining or leaving moves as few partitions as possible.
 */
export function fairShares(partitions: number, members: readonly Holder[]): Map<string, number> {
  const least = Math.floor(partitions / members.length);
  const larger = partitions - least * members.length;
  const ranked = members.toSorted((a, b) => b.held - a.held || (a.name < b.name ? -1 : 1));
  return new Map(ranked.map(({ name }, rank) => [name, rank < larger ? least + 1 : least]));
}
