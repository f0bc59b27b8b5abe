import type { Clock } from '../../core/time.ts';
import type { Chunk } from '../source/chunk.ts';
import type { TickSource } from '../source/source.ts';

export interface ChainOptions {
  /** how many ticks exist at the start */
  head: number;
  /** ticks created per second afterwards */
  rate: number;
  /** number of the last tick ever; null = no end */
  limit: bigint | null;
  /** how many ticks back from the head are served */
  history: number;
}

/** A waiter for a tick, which may go away in the meantime. */
export interface Waiting {
  readonly over: boolean;
  /** returns a function that removes the listener */
  onClose(listener: () => void): () => void;
}

/** How often streams look whether there are new ticks; at 10,000 ticks/s they get 50 at a time. */
const PACE_MS = 5;

/** Which ticks of a source exist so far and are still served. Shared by all streams and queries. */
export class Chain {
  readonly source: TickSource;
  /** 1 once a fork has happened */
  branch: 0 | 1 = 0;
  readonly #options: ChainOptions;
  readonly #clock: Clock;
  readonly #waiting = new Set<() => boolean>();
  #pace: NodeJS.Timeout | null = null;
  /** `#base` ticks existed at `#baseMs` */
  #base: number;
  #baseMs: number;
  #most: number;

  constructor(source: TickSource, options: ChainOptions, clock: Clock) {
    this.source = source;
    this.#options = options;
    this.#clock = clock;
    const limit = options.limit;
    this.#most = limit === null ? source.size : Math.min(source.size, source.indexFrom(limit + 1n));
    this.#base = Math.min(options.head, this.#most);
    this.#baseMs = clock.monotonicMs();
  }

  /** How many ticks there are; their indexes are below it. */
  count(): number {
    const made = Math.floor(((this.#clock.monotonicMs() - this.#baseMs) * this.#options.rate) / 1000);
    return Math.min(this.#base + made, this.#most);
  }

  /** How many there will ever be, as far as is known now. */
  finalCount(): number {
    return this.#options.rate > 0 ? this.#most : this.#base;
  }

  /** Index of the oldest tick that is served. */
  oldest(): number {
    return Math.max(0, this.count() - this.#options.history);
  }

  chunkOf(index: number): Promise<Chunk> {
    return this.source.chunk(this.branch, Math.floor(index / this.source.chunkTicks));
  }

  /** Switches to the fork; the chain now ends at `count` and grows from there. */
  fork(count: number): void {
    this.branch = 1;
    this.#base = Math.min(count, this.#most);
    this.#baseMs = this.#clock.monotonicMs();
    this.#wake();
  }

  /** Stops the growth of the chain. Returns how many ticks there are. */
  freeze(): number {
    this.#most = this.count();
    return this.#most;
  }

  /** Resolves when the tick with this index exists, after a fork, or when `waiting` is over. */
  async grown(index: number, waiting: Waiting): Promise<void> {
    const { branch } = this;
    const ready = (): boolean => waiting.over || this.branch !== branch || this.count() > index;
    if (ready()) return;
    const stopListening = waiting.onClose(() => this.#wake());
    await new Promise<void>((resolve) => {
      const look = (): boolean => {
        if (!ready()) return false;
        resolve();
        return true;
      };
      this.#waiting.add(look);
      if (this.#options.rate > 0) this.#pace ??= setInterval(() => this.#wake(), PACE_MS);
    });
    stopListening();
  }

  #wake(): void {
    for (const look of this.#waiting) if (look()) this.#waiting.delete(look);
    if (this.#waiting.size > 0 || this.#pace === null) return;
    clearInterval(this.#pace);
    this.#pace = null;
  }
}
