import type { Clock } from '../../../core/time.ts';
import { pause } from '../../../core/wait.ts';

/** TWS disconnects a client that sends more than 50 messages a second; at this spacing it is at most 44. */
export const REQUEST_SPACING_MS = 23;

/** What takes a turn; false: it sent nothing, and the next one need not wait. */
type Turn = () => boolean | Promise<boolean>;

/** Sends requests in order, never closer together than the spacing, so the limit holds for any window of time. */
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

  /** Calls `send` in its turn, in call order; not at all once the signal has aborted. */
  send(send: Turn): Promise<void> {
    this.#turn = this.#turn.then(async () => {
      for (let waitMs = this.#waitMs(); waitMs > 0 && !this.#signal.aborted; waitMs = this.#waitMs()) {
        await pause(Math.ceil(waitMs), this.#signal);
      }
      if (this.#signal.aborted) return;
      if (await send()) this.hold(this.#spacingMs);
    });
    return this.#turn;
  }

  /** Sends nothing for `ms`. */
  hold(ms: number): void {
    this.#nextMs = Math.max(this.#nextMs, this.#clock.monotonicMs() + ms);
  }

  #waitMs(): number {
    return this.#nextMs - this.#clock.monotonicMs();
  }
}
