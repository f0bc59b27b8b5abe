import type { PartitionWindows } from '../../core/window/partition-windows.ts';

export interface StepLimits {
  /** most events that one transaction covers */
  maxBatchSize: number;
  /** how long a closed window may wait for its transaction, ms */
  flushTimeoutMs: number;
}

type Waiting = Pick<PartitionWindows, 'hasWork' | 'eventsSinceStep' | 'activeWindows'>;

/** records per read: enough to be fast, few enough that a step never exceeds its limit by much */
const READ_MAX = 1_000;
/** windows of several symbols close at nearly the same time: waits this long to write them in one transaction, ms */
const GATHER_MS = 50;
/** how often a position is written when there is nothing else to write, ms */
const POSITION_MS = 1_000;
/** between two reads while a transaction is in flight, ms */
const WAIT_MS_MIN = 5;
/** how often idle symbols are checked for, ms */
const IDLE_LOOK_MS = 100;

/** Decides when a step is taken, and how long to wait for entries in the meantime. */
export class StepPacing {
  readonly #limits: StepLimits;
  readonly readCount: number;
  #lastTookMs: number | null = null;
  #isCaughtUp = true;
  /** since when something has been waiting for its transaction */
  #workSinceMs: number | null = null;
  /** since when there have been events, so that the position can advance */
  #eventsSinceMs: number | null = null;

  constructor(limits: StepLimits) {
    this.#limits = limits;
    // at most half a step: with reads as large as a step, every step would be full after its first event
    this.readCount = Math.min(READ_MAX, Math.ceil(limits.maxBatchSize / 2));
  }

  /** Records the result of one read. */
  took(count: number, nowMs: number): void {
    if (count > 0) this.#lastTookMs = nowMs;
    this.#isCaughtUp = count < this.readCount;
  }

  /**
   * For how long nothing followed the newest entry, ms; 0 while there are more to read.
   * @param emptyAsOfMs when the bus last said that nothing does: silence of the bus itself is none of its symbols
   */
  quietMs(emptyAsOfMs: number): number {
    return this.#isCaughtUp && this.#lastTookMs !== null ? Math.max(0, emptyAsOfMs - this.#lastTookMs) : 0;
  }

  waitMs(nowMs: number, windows: Waiting): number {
    if (this.#workSinceMs !== null)
      return Math.max(WAIT_MS_MIN, Math.ceil(this.#workSinceMs + this.#gatherMs - nowMs));
    return windows.activeWindows > 0 || windows.eventsSinceStep > 0 ? IDLE_LOOK_MS : POSITION_MS;
  }

  /** Another read might exceed the step's limit. */
  isFull(windows: Waiting): boolean {
    return windows.eventsSinceStep + this.readCount > this.#limits.maxBatchSize;
  }

  /** @param hasDeadLetters dead letters are waiting for the step, too */
  isDue(nowMs: number, windows: Waiting, hasDeadLetters: boolean): boolean {
    if (windows.hasWork || hasDeadLetters) this.#workSinceMs ??= nowMs;
    if (windows.eventsSinceStep > 0) this.#eventsSinceMs ??= nowMs;
    if (this.#workSinceMs === null && this.#eventsSinceMs === null) return false;
    if (this.isFull(windows)) return true;
    if (this.#workSinceMs !== null) {
      const waitedMs = nowMs - this.#workSinceMs;
      return waitedMs >= (this.#isCaughtUp ? this.#gatherMs : this.#limits.flushTimeoutMs);
    }
    return this.#eventsSinceMs !== null && nowMs - this.#eventsSinceMs >= POSITION_MS;
  }

  stepped(): void {
    this.#workSinceMs = null;
    this.#eventsSinceMs = null;
  }

  get #gatherMs(): number {
    return Math.min(GATHER_MS, this.#limits.flushTimeoutMs);
  }
}
