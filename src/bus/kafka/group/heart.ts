import { setTimeout as delay } from 'node:timers/promises';
import { atMost } from '../../../core/wait.ts';

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
    await atMost(this.#beaten.promise, ms);
  }
}
