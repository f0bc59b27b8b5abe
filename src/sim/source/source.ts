import type { Chunk } from './chunk.ts';

/** Where the ticks of a chain come from: made (generated.ts) or read from a file (replay.ts). */
export interface TickSource {
  /** the ticks of chunk c have the indexes from c · chunkTicks on */
  readonly chunkTicks: number;
  /** how many ticks it can ever give */
  readonly size: number;
  numberAt(index: number): bigint;
  /** Index of the first tick whose number is at least this one; `size` when there is none. */
  indexFrom(number: bigint): number;
  /** Index of the tick with exactly this number, or −1. */
  indexOf(number: bigint): number;
  /** Transactions in the ticks before this index. */
  transactionsBefore(index: number, branch: 0 | 1): bigint;
  chunk(branch: 0 | 1, chunk: number): Promise<Chunk>;
  /** Makes a chunk ahead of time that is likely to be requested. */
  prefetch(branch: 0 | 1, chunk: number): void;
  close(): Promise<void>;
}
