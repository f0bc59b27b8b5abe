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
  /** how far a tick may lie behind the newest of its symbol and find its window open, ms */
  allowLateMs: number;
}

/** How far a symbol is: what a restart must know of it. */
export interface Watermark {
  /** greatest time seen, µs */
  maxUs: number;
  /** everything before is closed, µs; aligned to windows */
  closedEndUs: number;
}

/** What became of an event. */
export type Verdict =
  /** in its window */
  | 'counted'
  /** in its window already */
  | 'repeat'
  /** the same id is in its window with another content, which stays */
  | 'conflict'
  /** its window is closed */
  | 'late'
  /** of the time before a restart, and done with then */
  | 'done'
  /** a bar that no window can hold */
  | 'too_long'
  /** a bar that lies in two windows */
  | 'straddles';

/** The windows of one symbol of one provider, of live events or of those of one replay. */
export class SymbolWindows {
  readonly #rules: WindowRules;
  readonly #open: OpenWindow[] = [];
  readonly #rollups: Rollups;
  #maxUs: number;
  #closedEndUs: number;
  /** before a restart everything before was closed: entries from before it are done with */
  readonly #doneBeforeUs: number;
  #closed: ClosedWindow[] = [];
  /** what was closed when the last step was taken */
  takenEndUs: number;
  /** when its newest event came, ms by the clock of the bus */
  heardMs = -Infinity;
  /** the watermark moved, or windows closed, since somebody wrote it down */
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

  /** Event time below which nothing is waited for, µs. */
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

  /** Closes every open window although the watermark is not past it; the watermark stays. */
  closeAll(): void {
    const last = this.#open.at(-1);
    if (last === undefined) return;
    this.#closeUpTo(windowEndUs(last.startUs, this.#rules.windowMs));
  }

  /** What closed since the last call, oldest first, and the rollups that changed. */
  take(): { windows: ClosedWindow[]; rollups: RollupRow[] } {
    const taken = { windows: this.#closed, rollups: this.#rollups.take() };
    this.#closed = [];
    this.takenEndUs = this.#closedEndUs;
    this.isChanged = false;
    return taken;
  }

  /** What is stored of a rollup, in place of what is known here. */
  restore(stored: RollupState): void {
    this.#rollups.restore(stored, this.#closedEndUs, this.#closed);
  }

  /** null: it is closed. Very few are open, and nearly always it is the last one. */
  #windowOf(srcUs: number, place: Place): OpenWindow | null {
    const startUs = windowStartUs(srcUs, this.#rules.windowMs);
    // also a window that began before what is closed, after the length of windows was changed
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

  /** Windows that were closed for idleness may hold the newest event of all. */
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
    const closed = { startUs, bar, lastSeq, oldestIngestUs };
    this.#rollups.add(closed);
    this.#closed.push(closed);
  }
}
