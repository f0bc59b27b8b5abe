import type { PartitionWindows } from '../../core/window/partition-windows.ts';

export interface StepLimits {
  /** most events that one transaction covers */
  maxBatchSize: number;
  /** how long a closed window may wait for its transaction, ms */
  flushTimeoutMs: number;
}

type Waiting = Pick<PartitionWindows, 'hasWork' | 'eventsSinceStep' | 'activeWindows'>;

/** records of one read: enough to be fast, few enough that a step is never much larger than it may be */
const READ_MAX = 1_000;
/** windows of several symbols close within moments of each other: one transaction for them, ms */
const GATHER_MS = 50;
/** a position without anything else is written so often, ms */
const POSITION_MS = 1_000;
/** between two reads while a transaction is under way, ms */
const WAIT_MS_MIN = 5;
/** how often idle symbols are looked for, ms */
const IDLE_LOOK_MS = 100;

/** When a step is taken, and how long to wait for entries meanwhile. */
export class StepPacing {
  readonly #limits: StepLimits;
  readonly readCount: number;
  #lastTookMs: number | null = null;
  #isCaughtUp = true;
  /** since something waits for its transaction */
  #workSinceMs: number | null = null;
  /** since there is anything a position could move for */
  #eventsSinceMs: number | null = null;

  constructor(limits: StepLimits) {
    this.#limits = limits;
    // half of a step at most: a read as large as a step would make every one full after its first event
    this.readCount = Math.min(READ_MAX, Math.ceil(limits.maxBatchSize / 2));
  }

  /** The answer of one read. */
  took(count: number, nowMs: number): void {
    if (count > 0) this.#lastTookMs = nowMs;
    this.#isCaughtUp = count < this.readCount;
  }

  /** Since the newest entry, while there is nothing behind it, ms. */
  quietMs(nowMs: number): number {
    return this.#isCaughtUp && this.#lastTookMs !== null ? nowMs - this.#lastTookMs : 0;
  }

  waitMs(nowMs: number, windows: Waiting): number {
    if (this.#workSinceMs !== null)
      return Math.max(WAIT_MS_MIN, Math.ceil(this.#workSinceMs + this.#gatherMs - nowMs));
    return windows.activeWindows > 0 || windows.eventsSinceStep > 0 ? IDLE_LOOK_MS : POSITION_MS;
  }

  /** Another read might make the step larger than it may be. */
  isFull(windows: Waiting): boolean {
    return windows.eventsSinceStep + this.readCount > this.#limits.maxBatchSize;
  }

  /** @param hasDeadLetters they wait for it, too */
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
