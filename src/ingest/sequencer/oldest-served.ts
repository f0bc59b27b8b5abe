import type { SequencerConnection } from './connection.ts';

export interface OldestServedHost {
  /** the last tick before the one that is due; null before the first one of a chain */
  had(): bigint | null;
  /** the sequencer's head, and the value of `had` at that time */
  answered(head: bigint, had: bigint | null): void;
  /** the stream has moved on: the answer is no longer wanted */
  isOver(): boolean;
}

/**
 * A position that is not served may be older than what the sequencer keeps. Returns the oldest tick that it has, where
 * a stream can continue; null when that is not the cause, or cannot be determined.
 */
export async function findOldestServed(
  connection: SequencerConnection,
  start: bigint,
  host: OldestServedHost,
): Promise<bigint | null> {
  try {
    const head = await connection.head();
    if (host.isOver()) return null;
    const had = host.had();
    host.answered(head, had);
    if (host.isOver() || (had !== null && head < had)) return null;
    const oldest = await oldestServed((number) => connection.serves(number), start, head);
    return oldest === start ? null : oldest;
  } catch {
    return null;
  }
}

/**
 * The oldest tick still served in [wanted, head], or null when not even the head is. The served ticks are a suffix of
 * the chain, so a binary search by GetTick finds its start.
 */
export async function oldestServed(
  serves: (number: bigint) => Promise<boolean>,
  wanted: bigint,
  head: bigint,
): Promise<bigint | null> {
  if (head < wanted || !(await serves(head))) return null;
  let missing = wanted - 1n;
  let served = head;
  while (served - missing > 1n) {
    const middle = missing + (served - missing) / 2n;
    if (await serves(middle)) served = middle;
    else missing = middle;
  }
  return served;
}
