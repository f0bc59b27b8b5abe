import { BatchGrowth } from '../../core/ingest/batch-growth.ts';

/** A transaction that takes this long is near the statement timeout of its session, ms. */
const SLOW_MS = 20_000;

/** How many records the next batch may have: more while the consumer is behind, as far as the database takes that many at once. */
export class BatchLimit {
  readonly #batchSize: number;
  readonly #batchMax: number;
  readonly #growth: BatchGrowth;
  #wanted: number;

  constructor(batchSize: number, batchMax: number) {
    this.#batchSize = batchSize;
    this.#batchMax = Math.max(batchMax, batchSize);
    this.#growth = new BatchGrowth(this.#batchMax, SLOW_MS);
    this.#wanted = batchSize;
  }

  get records(): number {
    return Math.min(this.#wanted, this.#growth.limit);
  }

  /** Doubles while batches come full, halves while they are mostly empty. */
  got(records: number): void {
    const limit = this.records;
    if (records >= limit) this.#wanted = Math.min(this.#batchMax, limit * 2);
    else if (records < limit / 4) this.#wanted = Math.max(this.#batchSize, limit >> 1);
  }

  /** @param tooMany the least number of ticks that was too much at once, null when none was */
  stored(ticks: number, tooMany: number | null, durationMs: number): void {
    if (tooMany === null) this.#growth.committed(ticks, durationMs);
    else this.#growth.late(tooMany);
  }
}
