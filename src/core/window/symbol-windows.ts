import type { BarEvent, TickEvent } from '../market/event.ts';
import { lengthUs, OpenWindow, type BarSkip, type Place } from './open-window.ts';
import {
  Rollups,
  windowEndUs,
  windowStartUs,
  type ClosedWindow,
  type RollupRow,
  type RollupState,
} from './rollup.ts';

export interface WindowRules {
  /** 500 … 60,000 and a divisor of a minute */
  windowMs: number;
  /** how far a tick may lag behind the newest one of its symbol and still find its window open, ms */
  allowLateMs: number;
}

/** Progress of one symbol, as a restart needs it. */
export interface Watermark {
  /** latest event time seen, µs */
  maxUs: number;
  /** all windows before this are closed, µs; aligned to windows */
  closedEndUs: number;
}

/** What became of an event. */
export type Verdict =
  /** in its window */
  | 'counted'
  /** already in its window */
  | 'repeat'
  /** its window already holds this id with different content, which stays there */
  | 'conflict'
  /** its window is closed */
  | 'late'
  /** already processed before a restart */
  | 'done'
  /** a bar that no window can hold */
  | 'too_long'
  /** a bar that spans two windows */
  | 'straddles';

/** The windows of one symbol of one provider, either for live events or for one replay. */
export class SymbolWindows {
  readonly #rules: WindowRules;
  readonly #open: OpenWindow[] = [];
  readonly #rollups: Rollups;
  #maxUs: number;
  #closedEndUs: number;
  /** end of the closed windows at the last restart, µs: re-read entries with an earlier time are already processed */
  readonly #doneBeforeUs: number;
  #closed: ClosedWindow[] = [];
  #contested: number[] = [];
  /** end of the closed windows when the last step was taken, µs */
  takenEndUs: number;
  /** when its newest event arrived, ms by the bus's clock */
  heardMs = -Infinity;
  /** the watermark moved, or windows closed, since the last take() */
  isChanged = false;
  readonly skipped: Record<BarSkip, number> = { ticks_seen: 0, overlaps: 0 };

  constructor(rules: WindowRules, known: Watermark | null) {
    this.#rules = rules;
    this.#rollups = new Rollups(rules.windowMs);
    this.#maxUs = known?.maxUs ?? -Infinity;
    this.#closedEndUs = known?.closedEndUs ?? -Infinity;
    this.#doneBeforeUs = this.takenEndUs = this.#closedEndUs;
  }

  get watermark(): Watermark {
    return { maxUs: this.#maxUs, closedEndUs: this.#closedEndUs };
  }

  /** Event time below which no more events are expected, µs. */
  get watermarkUs(): number {
    return this.#maxUs - this.#rules.allowLateMs * 1000;
  }

  /** Windows and rollups that closed and wait to be taken. */
  get closedCount(): number {
    return this.#closed.length + this.#rollups.finalCount;
  }

  get open(): readonly OpenWindow[] {
    return this.#open;
  }

  /** @param isOld its entry was read before a restart */
  addTick(tick: TickEvent, place: Place, ingestUs: number, isOld: boolean): Verdict {
    const srcUs = Number(tick.srcTs);
    if (isOld && srcUs < this.#doneBeforeUs) return 'done';
    const window = this.#windowOf(srcUs, place);
    if (window === null) return this.#late(srcUs);
    return this.#entered(window, window.addTick(tick, srcUs), srcUs, ingestUs);
  }

  addBar(bar: BarEvent, place: Place, ingestUs: number, isOld: boolean): Verdict {
    const srcUs = Number(bar.srcTs);
    const { windowMs } = this.#rules;
    const length = lengthUs(bar);
    if (length > windowMs * 1000) return 'too_long';
    if (windowStartUs(srcUs, windowMs) !== windowStartUs(srcUs + length - 1, windowMs)) return 'straddles';
    if (isOld && srcUs < this.#doneBeforeUs) return 'done';
    const window = this.#windowOf(srcUs, place);
    if (window === null) return this.#late(srcUs);
    return this.#entered(window, window.addBar(bar), srcUs, ingestUs);
  }

  /** Closes every open window, even those the watermark has not passed; the watermark stays. */
  closeAll(): void {
    const last = this.#open.at(-1);
    if (last === undefined) return;
    this.#closeUpTo(windowEndUs(last.startUs, this.#rules.windowMs));
  }

  /**
   * If the closed range ends inside a window (the length changed at a restart), extends it to the end of that window.
   * Returns the start of that window; null: the range was aligned.
   */
  realign(): number | null {
    const { windowMs } = this.#rules;
    const startUs = windowStartUs(this.#closedEndUs, windowMs);
    if (startUs === this.#closedEndUs) return null;
    this.#closeUpTo(windowEndUs(startUs, windowMs));
    return startUs;
  }

  /** Closes all windows up to the newest event, including those unknown here. Returns their starts. */
  closeSeen(): number[] {
    const { windowMs } = this.#rules;
    const endUs = windowEndUs(windowStartUs(this.#maxUs, windowMs), windowMs);
    const starts: number[] = [];
    for (let startUs = this.#closedEndUs; startUs < endUs; startUs = windowEndUs(startUs, windowMs)) {
      starts.push(startUs);
    }
    if (starts.length > 0) this.#closeUpTo(endUs);
    return starts;
  }

  /** Windows closed since the last call, oldest first, starts of those with two contents of one tick, and the rollups that changed. */
  take(): { windows: ClosedWindow[]; contested: number[]; rollups: RollupRow[] } {
    const taken = { windows: this.#closed, contested: this.#contested, rollups: this.#rollups.take() };
    this.#closed = [];
    this.#contested = [];
    this.takenEndUs = this.#closedEndUs;
    this.isChanged = false;
    return taken;
  }

  /** Replaces the state of a rollup by what is stored. */
  restore(stored: RollupState): void {
    this.#rollups.restore(stored, this.#closedEndUs, this.#closed);
  }

  /** null: it is closed. Very few are open, and the last one nearly always matches. */
  #windowOf(srcUs: number, place: Place): OpenWindow | null {
    const startUs = windowStartUs(srcUs, this.#rules.windowMs);
    if (startUs < this.#closedEndUs) return null;
    let at = this.#open.length;
    while (at > 0 && this.#open[at - 1].startUs > startUs) at -= 1;
    const found = this.#open[at - 1] as OpenWindow | undefined;
    if (found?.startUs === startUs) return found;
    const window = new OpenWindow(startUs, place);
    this.#open.splice(at, 0, window);
    return window;
  }

  #entered(
    window: OpenWindow,
    seen: 'new' | 'repeat' | 'conflict',
    srcUs: number,
    ingestUs: number,
  ): Verdict {
    if (seen !== 'new') return seen;
    if (ingestUs < window.oldestIngestUs) window.oldestIngestUs = ingestUs;
    this.#advance(srcUs);
    return 'counted';
  }

  /** After windows were closed for idleness, a late event may be the newest one of its symbol. */
  #late(srcUs: number): 'late' {
    this.#advance(srcUs);
    return 'late';
  }

  #advance(srcUs: number): void {
    if (srcUs <= this.#maxUs) return;
    this.#maxUs = srcUs;
    this.isChanged = true;
    const closedEndUs = windowStartUs(this.watermarkUs, this.#rules.windowMs);
    if (closedEndUs > this.#closedEndUs) this.#closeUpTo(closedEndUs);
  }

  #closeUpTo(endUs: number): void {
    let count = 0;
    while (count < this.#open.length && this.#open[count].startUs < endUs) {
      this.#close(this.#open[count]);
      count += 1;
    }
    this.#open.splice(0, count);
    this.#closedEndUs = endUs;
    this.isChanged = true;
    this.#rollups.close(endUs);
  }

  #close(window: OpenWindow): void {
    const { startUs, oldestIngestUs } = window;
    const { bar, lastSeq, skipped } = window.outcome();
    this.skipped.ticks_seen += skipped.ticks_seen;
    this.skipped.overlaps += skipped.overlaps;
    if (bar === null) return;
    if (window.isContested) this.#contested.push(startUs);
    const closed = { startUs, bar, lastSeq, oldestIngestUs };
    this.#rollups.add(closed);
    this.#closed.push(closed);
  }
}
