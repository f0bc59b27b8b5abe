import type { SealedBatch } from '../reader/batch-builder.ts';
import { newJob, type Job } from './job.ts';
import type { Ring } from '../ring.ts';

/**
 * The jobs that are under way, in the order of sealing. Each one has its slab, its ticks in the ring and one of the
 * reader's credits until it is forgotten.
 */
export class Jobs {
  readonly #ring: Ring;
  readonly #credit: () => void;
  readonly #jobs = new Set<Job>();
  #settled: (() => void)[] = [];

  /** credit: tells the reader that a batch is done. */
  constructor(ring: Ring, credit: () => void) {
    this.#ring = ring;
    this.#credit = credit;
  }

  add(batch: SealedBatch): Job {
    const job = newJob(batch);
    this.#jobs.add(job);
    return job;
  }

  has(job: Job): boolean {
    return this.#jobs.has(job);
  }

  [Symbol.iterator](): IterableIterator<Job> {
    return this.#jobs.values();
  }

  /** Bytes of their frames. */
  get bytes(): number {
    let bytes = 0;
    for (const { batch } of this.#jobs) bytes += batch.bytes;
    return bytes;
  }

  /** Up to where there are none of them, at most `position`. */
  quietUpTo(position: bigint | null): bigint | null {
    let quiet = position;
    for (const { batch } of this.#jobs) {
      if (quiet !== null && batch.first <= quiet) quiet = batch.first - 1n;
    }
    return quiet;
  }

  /** Resolves when there are none. */
  async settled(): Promise<void> {
    if (this.#jobs.size === 0) return;
    await new Promise<void>((resolve) => void this.#settled.push(resolve));
  }

  /** All but those at a writer. */
  forgetWaiting(): void {
    for (const job of Array.from(this.#jobs)) if (!job.writing) this.forget(job);
  }

  /** The slab is free, its ticks are no longer held. */
  forget(job: Job): void {
    const { batch } = job;
    if (!this.#jobs.delete(job)) return;
    if (batch.slab !== null) this.#ring.free(batch.slab);
    this.#ring.addHeldTicks(-batch.ticks);
    this.#ring.addInFlight(-1);
    this.#credit();
    if (this.#jobs.size > 0) return;
    for (const resolve of this.#settled.splice(0)) resolve();
  }
}
