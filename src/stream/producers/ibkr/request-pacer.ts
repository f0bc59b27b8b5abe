import type { Clock } from '../../../core/time.ts';
import { pause } from '../../../core/wait.ts';

/** TWS ends a client that sends more than 50 messages a second; so many milliseconds apart it is at most 44. */
export const REQUEST_SPACING_MS = 23;

/** Sends requests one after the other, never closer together than the spacing, whatever window they are counted in. */
export class RequestPacer {
  readonly #spacingMs: number;
  readonly #signal: AbortSignal;
  readonly #clock: Clock;
  #turn: Promise<void> = Promise.resolve();
  #nextMs = -Infinity;

  constructor(signal: AbortSignal, clock: Clock, spacingMs = REQUEST_SPACING_MS) {
    this.#signal = signal;
    this.#clock = clock;
    this.#spacingMs = spacingMs;
  }

  /** Calls `send` when it is its turn, in the order of the calls; not at all once the signal has aborted. */
  send(send: () => void): Promise<void> {
    this.#turn = this.#turn.then(async () => {
      for (let waitMs = this.#waitMs(); waitMs > 0 && !this.#signal.aborted; waitMs = this.#waitMs()) {
        await pause(Math.ceil(waitMs), this.#signal);
      }
      if (this.#signal.aborted) return;
      this.#nextMs = this.#clock.monotonicMs() + this.#spacingMs;
      send();
    });
    return this.#turn;
  }

  /** Nothing is sent for so long: the server has complained. */
  hold(ms: number): void {
    this.#nextMs = Math.max(this.#nextMs, this.#clock.monotonicMs() + ms);
  }

  #waitMs(): number {
    return this.#nextMs - this.#clock.monotonicMs();
  }
}
