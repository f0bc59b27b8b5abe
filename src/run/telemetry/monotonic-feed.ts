/**
 * Totals that threads count on their own reach a counter here. A thread reports its total so far; a total below the
 * last one means that the thread was restarted and began at 0 again, so all of it is new.
 */
export class MonotonicFeed {
  readonly #last = new Map<string, number>();

  /** How much `source` counted since its last report. */
  advance(source: string, total: number): number {
    const last = this.#last.get(source) ?? 0;
    this.#last.set(source, total);
    return total < last ? total : total - last;
  }
}

/** A counter that only grows, by steps or by the totals of threads. */
export class FedCounter {
  readonly #feed = new MonotonicFeed();
  readonly #add: (delta: number) => void;
  #total = 0;

  constructor(add: (delta: number) => void) {
    this.#add = add;
  }

  inc(delta = 1): void {
    this.#total += delta;
    this.#add(delta);
  }

  /** `source` names the thread; one thread keeps one name over its restarts. */
  feed(source: string, total: number): void {
    this.inc(this.#feed.advance(source, total));
  }

  get total(): number {
    return this.#total;
  }
}
