/** What is left to do of a batch that is stored: its dead letters, then its acknowledgement. */
export type Settle = () => Promise<void>;

/**
 * Batches that were read and are not acknowledged yet, two at most: while one is stored, the one before it is settled. Each
 * waits for the one before, so that neither step falls behind the other. What fails rejects every later call.
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

  /** Begins to store a batch and settles it after the one before. Resolves when the one before is settled. */
  add(store: () => Promise<Settle>): Promise<void> {
    const before = this.#settled;
    const storing = store();
    return this.#begin(before, storing, settleAfter(before, storing));
  }

  /** The same for a batch that is begun only when nothing else is in flight. */
  addAlone(work: () => Promise<void>): Promise<void> {
    const before = this.#settled;
    const done = before.then(work);
    return this.#begin(before, done, done);
  }

  #begin(before: Promise<void>, stored: Promise<unknown>, settled: Promise<void>): Promise<void> {
    this.#stored = stored;
    this.#settled = settled;
    // a failure is met by whoever asks next; until then it must not count as unhandled
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
