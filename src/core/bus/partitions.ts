const MULTIPLIER = 0x5bd1e995;
const SHIFT = 24;
/** the seed that Kafka's clients use, so that its own partitioner and ours agree */
const SEED = 0x9747b28c;

const UTF8 = new TextEncoder();

/** murmur2 of Austin Appleby as Kafka's clients compute it; a signed 32-bit number. */
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

/** The partition of a key (a symbol) among `partitions`: what Kafka's default partitioner answers for the same bytes. */
export function partitionOf(key: string, partitions: number): number {
  return partitions === 1 ? 0 : (murmur2(UTF8.encode(key)) & 0x7fffffff) % partitions;
}
