/** New dead letters of one moment, as they are found in the store when a run begins. */
export interface DeadLettersSeen {
  /** how long ago, ms */
  ageMs: number;
  count: number;
}

/** The window that DEAD_LETTER_MAX limits, ms. */
export const BRAKE_WINDOW_MS = 600_000;
/** This many frames in a row that differ from what is stored mean another chain, not an accident. */
export const CONFLICTS_MAX = 3;

/**
 * Counts the dead letters of a sliding window (spec P5): a sequencer that sends nothing but bad ticks must stop the
 * ingestion, not fill the table. Memory: one entry for each batch with dead letters in the window.
 */
export class DeadLetterBrake {
  readonly max: number;
  #entries: { atMs: number; count: number }[] = [];
  #sum = 0;

  /** max: DEAD_LETTER_MAX */
  constructor(max: number) {
    this.max = max;
  }

  /** Starts over from what the store has. */
  begin(seen: readonly DeadLettersSeen[], nowMs: number): void {
    this.#entries = seen
      .map(({ ageMs, count }) => ({ atMs: nowMs - ageMs, count }))
      .sort((a, b) => a.atMs - b.atMs);
    this.#sum = seen.reduce((sum, { count }) => sum + count, 0);
  }

  /**
   * Whether `count` more may be written; they are counted if so. The first ones of a window always may, however many:
   * otherwise an operator who has accepted a halt would be halted again at once.
   */
  admit(count: number, nowMs: number): boolean {
    this.#forget(nowMs);
    if (this.#sum > 0 && this.#sum + count > this.max) return false;
    this.#entries.push({ atMs: nowMs, count });
    this.#sum += count;
    return true;
  }

  /** More than the limit were written. */
  isOver(nowMs: number): boolean {
    this.#forget(nowMs);
    return this.#sum > this.max;
  }

  #forget(nowMs: number): void {
    const old = this.#entries.findIndex(({ atMs }) => nowMs - atMs < BRAKE_WINDOW_MS);
    for (const entry of this.#entries.splice(0, old < 0 ? this.#entries.length : old))
      this.#sum -= entry.count;
  }
}

/**
 * How many frames that conflict with what is stored came one directly after the other. Frames are told apart by their
 * ordinal in the stream: any other frame between two conflicts ends the streak.
 */
export class ConflictStreak {
  #last = -1;
  #length = 0;

  /** The length of the streak that ends with this conflict. */
  conflict(ordinal: number): number {
    this.#length = ordinal === this.#last + 1 ? this.#length + 1 : 1;
    this.#last = ordinal;
    return this.#length;
  }

  clear(): void {
    this.#last = -1;
    this.#length = 0;
  }
}
