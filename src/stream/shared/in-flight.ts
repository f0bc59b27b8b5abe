/** The remaining work for a stored batch: publish its dead letters, then acknowledge it. */
export type Settle = () => Promise<void>;

/**
 * Batches read but not yet acknowledged, at most two: while one is being stored, the previous one is settled. Each waits
 * for the previous one, so neither step falls behind the other. A failure rejects every later call.
 */
export class InFlightBatches {
  #stored: Promise<unknown> = Promise.resolve();
  #settled: Promise<void> = Promise.resolve();

  /** Resolves when the newest batch is stored: the next one may be added. */
  async stored(): Promise<void> {
    await this.#stored;
  }

  /** Resolves when nothing is in flight. */
  settled(): Promise<void> {
    return this.#settled;
  }

  /** Starts storing a batch; it is settled after the previous one. Resolves when the previous one is settled. */
  add(store: () => Promise<Settle>): Promise<void> {
    const before = this.#settled;
    const storing = store();
    return this.#begin(before, storing, settleAfter(before, storing));
  }

  /** The same for a batch that starts only when nothing else is in flight. */
  addAlone(work: () => Promise<void>): Promise<void> {
    const before = this.#settled;
    const done = before.then(work);
    return this.#begin(before, done, done);
  }

  #begin(before: Promise<void>, stored: Promise<unknown>, settled: Promise<void>): Promise<void> {
    this.#stored = stored;
    this.#settled = settled;
    // the next caller gets the failure; until then it must not count as unhandled
    stored.catch(() => {});
    settled.catch(() => {});
    return before;
  }
}

async function settleAfter(before: Promise<void>, storing: Promise<Settle>): Promise<void> {
  const settle = await storing;
  await before;
  await settle();
}
