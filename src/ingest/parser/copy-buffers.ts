import type { CopyBytes } from './parse.ts';

const TABLES = 3;

/** Shared memory for COPY bytes that is used again: fresh memory costs a page fault for every 4 KiB. */
export class CopyMemory {
  readonly #free: SharedArrayBuffer[] = [];
  readonly #max: number;

  /** batchesMax: how many batches can be under way at once */
  constructor(batchesMax: number) {
    this.#max = TABLES * batchesMax;
  }

  /** What there is for one batch; less than three pieces mean that the parser makes its own. */
  take(): SharedArrayBuffer[] {
    return this.#free.splice(0, TABLES);
  }

  /** Its writer is done with this memory for good: the answer came, or the connection is closed. */
  recycle(copy: CopyBytes): void {
    for (const { buffer } of [copy.ticks, copy.proofs, copy.transactions]) {
      if (buffer instanceof SharedArrayBuffer && this.#free.length < this.#max) this.#free.push(buffer);
    }
  }
}
