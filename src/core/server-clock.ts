import type { LogLine } from './env.ts';
import type { Clock, Micros } from './time.ts';

/** Beyond this a machine's clock is wrong enough to be told, ms: a minute is also what an event may be from the future. */
export const CLOCK_DIFFERENCE_MS_MAX = 60_000;

/**
 * The wall clock of a server as its answers tell it; between them it runs on our own monotonic clock, so that a step of the
 * machine's clock moves nothing. Until the first answer it is the machine's.
 */
export class ServerClock implements Clock {
  readonly #own: Clock;
  /** server's time minus our monotonic time, µs */
  #offset: Micros | null = null;
  #isOff = false;

  constructor(own: Clock) {
    this.#own = own;
  }

  /** The server was asked for its time at askedMs (monotonic) and has just answered. */
  observe(serverMicros: Micros, askedMs: number): void {
    const middleMs = (askedMs + this.#own.monotonicMs()) / 2;
    this.#offset = serverMicros - toMicros(middleMs);
  }

  nowMicros(): Micros {
    return this.#offset === null ? this.#own.nowMicros() : this.#offset + toMicros(this.#own.monotonicMs());
  }

  monotonicMs(): number {
    return this.#own.monotonicMs();
  }

  /** How far the machine's clock is ahead of the server's, ms; negative when it is behind; null before an answer. */
  get aheadMs(): number | null {
    return this.#offset === null ? null : Number(this.#own.nowMicros() - this.nowMicros()) / 1000;
  }

  /** The same as observe(); a difference of more than a minute, and its end, is logged once. */
  tell(serverMicros: Micros, askedMs: number, log: LogLine): void {
    this.observe(serverMicros, askedMs);
    const aheadMs = this.aheadMs ?? 0;
    const isOff = Math.abs(aheadMs) > CLOCK_DIFFERENCE_MS_MAX;
    if (isOff === this.#isOff) return;
    this.#isOff = isOff;
    const fields = { ahead_seconds: Math.round(aheadMs / 1000) };
    if (isOff)
      log('warn', "The clock of this machine differs from the database's, which is used instead", fields);
    else log('info', "The clock of this machine agrees with the database's again", fields);
  }
}

function toMicros(ms: number): Micros {
  return BigInt(Math.round(ms * 1000));
}
