import type { CopyBytes } from './parse.ts';

const TABLES = 3;

/** Recycled shared memory for COPY bytes: fresh memory costs a page fault for every 4 KiB. */
export class CopyMemory {
  readonly #free: SharedArrayBuffer[] = [];
  readonly #max: number;

  /** batchesMax: how many batches can be in flight at once */
  constructor(batchesMax: number) {
    this.#max = TABLES * batchesMax;
  }

  /** The recycled memory for one batch; if fewer than three pieces, the parser allocates its own. */
  take(): SharedArrayBuffer[] {
    return this.#free.splice(0, TABLES);
  }

  /** Its writer no longer uses this memory: the answer arrived, or the connection is closed. */
  recycle(copy: CopyBytes): void {
    for (const { buffer } of [copy.ticks, copy.proofs, copy.transactions]) {
      if (buffer instanceof SharedArrayBuffer && this.#free.length < this.#max) this.#free.push(buffer);
    }
  }
}
