import { setTimeout as delay } from 'node:timers/promises';

/** Waits that can be cut short, and others that wait for its beats. */
export class Heart {
  #cut = new AbortController();
  #beaten = Promise.withResolvers<void>();
  #hurried = false;

  /** Sleeps for `ms` or until hurry(). */
  async rest(ms: number): Promise<void> {
    if (!this.#hurried) await delay(ms, undefined, { signal: this.#cut.signal, ref: false }).catch(() => {});
    this.#hurried = false;
    this.#cut = new AbortController();
  }

  /** Ends the rest that is going on, or the next one at once. */
  hurry(): void {
    this.#hurried = true;
    this.#cut.abort();
  }

  /** Whoever waits in beaten() goes on. */
  beat(): void {
    this.#beaten.resolve();
    this.#beaten = Promise.withResolvers();
  }

  async beaten(ms: number): Promise<void> {
    const limit = new AbortController();
    await Promise.race([
      this.#beaten.promise,
      delay(ms, undefined, { signal: limit.signal }).catch(() => {}),
    ]);
    limit.abort();
  }
}
