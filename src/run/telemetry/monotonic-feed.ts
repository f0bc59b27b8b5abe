/**
 * Feeds totals counted by threads into a counter. A thread reports its total so far; a total below the
 * last one means that the thread was restarted and began at 0 again, so all of it is new: a counter never falls.
 */
export class MonotonicFeed {
  readonly #last = new Map<string, number>();

  /** How much `source` counted since its last report; one thread keeps one name over its restarts. */
  advance(source: string, total: number): number {
    const last = this.#last.get(source) ?? 0;
    this.#last.set(source, total);
    return total < last ? total : total - last;
  }
}
