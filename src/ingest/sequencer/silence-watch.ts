import type { Clock } from '../../core/time.ts';
import type { TickServer } from './connection.ts';
import { DOUBT_MS } from './head-watch.ts';

export interface SilenceLimits {
  /** a stream that has been silent for this long may hang, ms */
  stallMs: number;
  /** how often GetStatus queries the head, ms */
  headMs: number;
}

export interface SilenceHost {
  /** the ring is full: silence is our own doing */
  waiting(): boolean;
  /** the last tick before the one that is due; null before the first one of a chain */
  had(): bigint | null;
  /** the head looks suspicious: it is queried more often */
  isDoubtful(): boolean;
  /** the connection that was queried is no longer in use: the answer is not wanted */
  isOver(connection: TickServer): boolean;
  /** the sequencer's head, and the value of `had` when it was queried */
  answered(head: bigint, had: bigint | null): void;
}

/** The stream is open, and nothing arrived for silentMs. */
export interface Silence {
  silentMs: number;
  /** null when GetStatus was not answered either */
  head: bigint | null;
}

/** Queries the head with GetStatus while a stream is open: periodically, and at once when the stream is silent. */
export class SilenceWatch {
  readonly #limits: SilenceLimits;
  readonly #clock: Clock;
  readonly #host: SilenceHost;
  /** set for each frame, so that a frame reads no clock: look() turns the flag into a time */
  heardLately = false;
  #heardMs = 0;
  #askedMs = 0;
  #isAsking = false;

  constructor(limits: SilenceLimits, clock: Clock, host: SilenceHost) {
    this.#limits = limits;
    this.#clock = clock;
    this.#host = host;
  }

  /** Silence is counted from now on. */
  restart(): void {
    this.#heardMs = this.#clock.monotonicMs();
  }

  /** Call it several times a second. Resolves with the silence when it is too long, else with null. */
  async look(connection: TickServer): Promise<Silence | null> {
    const nowMs = this.#clock.monotonicMs();
    if (this.heardLately || this.#host.waiting()) this.#heardMs = nowMs;
    this.heardLately = false;
    const silentMs = nowMs - this.#heardMs;
    const isSilent = silentMs >= this.#limits.stallMs;
    const askMs = this.#host.isDoubtful() ? DOUBT_MS : this.#limits.headMs;
    if (this.#isAsking || (!isSilent && nowMs - this.#askedMs < askMs)) return null;
    this.#askedMs = nowMs;
    const had = this.#host.had();
    const head = await this.#ask(connection);
    if (this.#host.isOver(connection)) return null;
    if (head !== null) this.#host.answered(head, had);
    // the answer may have halted the run, which stops the stream
    if (!isSilent || this.heardLately || this.#host.isOver(connection)) return null;
    return { silentMs, head };
  }

  /** Null when there is no answer: that only matters while the stream is silent as well. */
  async #ask(connection: TickServer): Promise<bigint | null> {
    this.#isAsking = true;
    try {
      return await connection.head();
    } catch {
      return null;
    } finally {
      this.#isAsking = false;
    }
  }
}
