export interface StepLimits {
  /** looks that make a step at once */
  rows: number;
  /** most looks of one step: beyond it, nothing more is read until the one before is committed */
  rowsMax: number;
  /** how long a look may wait for its step, ms */
  flushMs: number;
  /** how often what a restart needs is stored while there is something new, ms */
  checkpointMs: number;
}

/** records per read */
const READ_MAX = 1_000;
/** how often a position is written when there is nothing else to write, ms */
const POSITION_MS = 1_000;
/** how often idle symbols are looked for, ms */
const IDLE_LOOK_MS = 100;
/** while a transaction is in flight, ms */
const WAIT_MS_MIN = 5;
/** events between two checkpoints, at most: what became of them waits in memory to be stored */
const UNSTORED_MAX = 1_000_000;
/** of the time that passes, this part at most goes into checkpoints */
const CHECKPOINT_SHARE = 1 / 20;

/** Decides when a step is taken, when with a checkpoint, and how long to wait for entries in the meantime. */
export class StepPacing {
  readonly #limits: StepLimits;
  readonly readCount = READ_MAX;
  #lastTookMs: number;
  #emptyAsOfMs = -Infinity;
  #isCaughtUp = true;
  #rowsSinceMs: number | null = null;
  #entriesSinceMs: number | null = null;
  #checkpointDueMs: number;
  /** entries were taken since the last checkpoint */
  #isStale = false;

  constructor(limits: StepLimits, nowMs: number) {
    this.#limits = limits;
    this.#lastTookMs = nowMs;
    this.#checkpointDueMs = nowMs + limits.checkpointMs;
  }

  /**
   * Records the result of one read.
   * @param emptyAsOfMs when the bus last said that there is nothing more: silence of the bus itself is none of its symbols
   */
  took(count: number, nowMs: number, emptyAsOfMs: number): void {
    this.#isCaughtUp = count < this.readCount;
    this.#emptyAsOfMs = emptyAsOfMs;
    if (count === 0) return;
    this.#lastTookMs = nowMs;
    this.#entriesSinceMs ??= nowMs;
    this.#isStale = true;
  }

  /** For how long nothing followed the newest entry, ms; 0 while there are more to read. */
  get quietMs(): number {
    return this.#isCaughtUp ? Math.max(0, this.#emptyAsOfMs - this.#lastTookMs) : 0;
  }

  /** What symbols are changed without an entry: by their silence. */
  settled(): void {
    this.#isStale = true;
  }

  waitMs(nowMs: number, isCommitting: boolean): number {
    if (isCommitting) return WAIT_MS_MIN;
    if (this.#rowsSinceMs !== null)
      return Math.min(
        IDLE_LOOK_MS,
        Math.max(WAIT_MS_MIN, Math.ceil(this.#rowsSinceMs + this.#limits.flushMs - nowMs)),
      );
    return IDLE_LOOK_MS;
  }

  /** @param unstored events since the last checkpoint */
  isFull(rows: number, unstored: number): boolean {
    return rows >= this.#limits.rowsMax || unstored >= UNSTORED_MAX;
  }

  isDue(nowMs: number, rows: number, unstored: number): boolean {
    if (rows > 0) this.#rowsSinceMs ??= nowMs;
    if (rows >= this.#limits.rows) return true;
    if (this.#rowsSinceMs !== null && nowMs - this.#rowsSinceMs >= this.#limits.flushMs) return true;
    if (this.#entriesSinceMs !== null && nowMs - this.#entriesSinceMs >= POSITION_MS && rows === 0)
      return true;
    return this.isCheckpointDue(nowMs, unstored);
  }

  /** A restart would do again what was done since the last one. When nothing comes any more, it is made soon. */
  isCheckpointDue(nowMs: number, unstored: number): boolean {
    if (!this.#isStale) return false;
    return unstored >= UNSTORED_MAX || nowMs >= this.#checkpointDueMs || this.quietMs >= POSITION_MS;
  }

  stepped(): void {
    this.#rowsSinceMs = null;
    this.#entriesSinceMs = null;
  }

  /** @param tookMs how long it took: large ones become rare */
  checkpointed(nowMs: number, tookMs: number): void {
    this.#checkpointDueMs = nowMs + Math.max(this.#limits.checkpointMs, tookMs / CHECKPOINT_SHARE);
  }

  /** A checkpoint of everything taken so far is under way. */
  covered(): void {
    this.#isStale = false;
    this.#checkpointDueMs = Infinity;
  }
}
