import type { BarRow } from '../market/bar.ts';
import type { MarketEvent } from '../market/event.ts';
import { LateEvents } from './late-events.ts';
import type { BarSkip, Place } from './open-window.ts';
import { windowEndUs, windowStartUs } from './rollup.ts';
import type { BarRules, EventOutcome } from './rules.ts';
import type { KnownSymbol, LateWindow, Resume, Step, SymbolKey } from './step.ts';
import { SymbolMap } from './symbol-map.ts';
import { SymbolWindows, type Watermark } from './symbol-windows.ts';

/**
 * - rebuilding: re-reading entries that a transaction covered before the restart
 * - rebuilt: the windows are as they were then; one of these entries may still come
 * - live: an entry was read that no transaction before the restart covers
 */
type Phase = 'rebuilding' | 'rebuilt' | 'live';

/**
 * All windows of one partition: entries in, steps out.
 *
 *   entry ─► its symbol's window, or the late policy
 *            watermark past the end, or the symbol idle ─► the window closes ─► its bar, rollups merged
 *   takeStep() ─► closed bars, changed rollups, watermarks, late windows and the position, for one transaction
 *
 * A restart reads from `openAfter`: entries up to `position` rebuild open windows; those of closed ones are skipped.
 *
 *   rebuilding ─► rebuilt           the entry at `position` was read, or there are no more for now: the others are lost
 *   rebuilding or rebuilt ─► live   an entry after `position`
 */
export class PartitionWindows {
  readonly #rules: BarRules;
  readonly #resume: Resume;
  readonly #compare: (a: string, b: string) => number;
  readonly #symbols = new SymbolMap();
  /** symbols with open windows */
  readonly #active = new Map<SymbolWindows, SymbolKey>();
  /** symbols with changes for the next step */
  readonly #changed = new Map<SymbolWindows, SymbolKey>();
  readonly #late: LateEvents;
  #phase: Phase;
  #ordinal = 0;
  /** everything up to here is processed or in a window; never moves back */
  #position: string | null;
  /** the last entry read; before #position if entries from before the restart were not redelivered */
  #readPosition: string | null;
  #stepOrdinal = 0;
  #hasClosed = false;
  #busMs = -Infinity;
  readonly skipped: Record<BarSkip, number> = { ticks_seen: 0, overlaps: 0 };
  /** entries of open windows from before the restart that are no longer on the bus */
  lostEntries = 0;

  constructor(
    rules: BarRules,
    resume: Resume,
    known: Iterable<KnownSymbol>,
    compare: (a: string, b: string) => number,
  ) {
    this.#rules = rules;
    this.#late = new LateEvents(rules);
    this.#resume = resume;
    this.#compare = compare;
    this.#position = this.#readPosition = resume.openAfter;
    const isCovered = resume.position !== null && resume.position !== resume.openAfter;
    this.#phase = isCovered ? 'rebuilding' : 'rebuilt';
    for (const { runId, provider, symbol, rollups, ...watermark } of known) {
      const windows = this.#add({ runId, provider, symbol }, watermark);
      for (const rollup of rollups) windows.restore(rollup);
      this.#realign(windows, { runId, provider, symbol });
    }
    if (resume.position === null && resume.openCount > 0) this.#loseLog();
  }

  /** Re-reading entries that a transaction covered before the restart. */
  get isRebuilding(): boolean {
    return this.#phase === 'rebuilding';
  }

  /** Number of events the next step would cover. */
  get eventsSinceStep(): number {
    return this.#ordinal - this.#stepOrdinal;
  }

  /** Whether the next step writes more than a position. */
  get hasWork(): boolean {
    // there can be no step without a position: it waits for the first entry
    if (this.#position === null) return false;
    return this.#hasClosed || !this.#late.isEmpty;
  }

  /** Closed windows are marked to be recomputed, and no step has taken the marks. */
  get hasMarks(): boolean {
    return this.#late.hasMarks;
  }

  get activeWindows(): number {
    let count = 0;
    for (const windows of this.#active.keys()) count += windows.open.length;
    return count;
  }

  /**
   * Takes the next entry of the partition.
   * @param event null: not usable for bars (malformed, moved to another partition, lost by the bus)
   */
  apply(position: string, takenMs: number, event: MarketEvent | null): EventOutcome | null {
    const isOld = this.isOld(position);
    if (!isOld) {
      if (this.isRebuilding) this.#endRebuilding();
      this.#phase = 'live';
    }
    const place: Place = { ordinal: this.#ordinal, after: isOld ? this.#readPosition : this.#position };
    this.#ordinal += 1;
    this.#readPosition = position;
    if (!isOld || this.isRebuilding) this.#position = position;
    if (takenMs > this.#busMs) this.#busMs = takenMs;
    if (event === null) return null;
    const windows = this.#windowsOf(event);
    // and not takenMs: one producer's clock may lag behind another's, and what was read just now is not idle
    windows.heardMs = this.#busMs;
    const ingestUs = event.ingestTs === null ? takenMs * 1000 : Number(event.ingestTs);
    const { isChanged: wasChanged, closedCount } = windows;
    const openCount = windows.open.length;
    const verdict =
      event.kind === 'tick'
        ? windows.addTick(event, place, ingestUs, isOld)
        : windows.addBar(event, place, ingestUs, isOld);
    const isTouched =
      windows.open.length !== openCount ||
      windows.closedCount !== closedCount ||
      windows.isChanged !== wasChanged;
    if (isTouched) this.#touched(windows, keyOf(event));
    if (this.isRebuilding && this.#resume.position === position) this.#endRebuilding();
    if (verdict === 'late') return this.#late.judge(event, windows.watermarkUs, position);
    return verdict === 'conflict' && event.kind === 'tick' && this.#isRevised(keyOf(event))
      ? 'contested'
      : verdict;
  }

  /** There are no more entries for now: those read before the restart and not redelivered are lost. */
  caughtUp(): void {
    if (this.isRebuilding) this.#endRebuilding();
  }

  /**
   * Closes the windows of idle symbols. Call it often, even when there are no entries.
   * @param quietMs time since the newest entry was read, if nothing follows it
   */
  closeIdle(quietMs: number): void {
    // a symbol may look idle now that was not when these entries were first read
    if (this.isRebuilding) return;
    const nowMs = this.#busMs + quietMs;
    for (const [windows, key] of this.#active) {
      if (nowMs - windows.heardMs < this.#rules.idleTimeoutMs) continue;
      windows.closeAll();
      this.#touched(windows, key);
    }
  }

  /**
   * Marks the closed windows of a live symbol in [startUs, endUs) to be recomputed. Returns up to where that is done: the
   * others are open, or their events have not been read yet. Not to be called while rebuilding.
   */
  recheck({ provider, symbol, startUs, endUs }: Omit<LateWindow, 'position' | 'contested'>): number {
    const windows = this.#symbols.get(0n, provider, symbol);
    const doneUs = Math.min(endUs, windows?.watermark.closedEndUs ?? -Infinity);
    for (let at = windowStartUs(startUs, this.#rules.windowMs); at < doneUs;) {
      this.#late.mark(provider, symbol, at, this.#position, 'alone');
      at = windowEndUs(at, this.#rules.windowMs);
    }
    return Math.max(startUs, doneUs);
  }

  /** Whether windows of a live symbol are open. */
  hasOpen(provider: string, symbol: string): boolean {
    return (this.#symbols.get(0n, provider, symbol)?.open.length ?? 0) > 0;
  }

  /** Everything up to here, for one transaction; the next step starts after it. Not to be called while rebuilding. */
  takeStep(): Step {
    const { after, ordinal } = this.#oldestOpen();
    const step: Step = {
      position: this.#position,
      openAfter: after,
      // until a newer entry arrives, the next restart must still look for those that were not redelivered
      openCount: Math.max(this.#ordinal, this.#phase === 'live' ? 0 : this.#resume.openCount) - ordinal,
      windows: [],
      rollups: [],
      watermarks: [],
      late: [],
      extensions: [],
      dropped: 0,
      events: this.eventsSinceStep,
      oldestIngestUs: [],
    };
    for (const [windows, key] of this.#changed) this.#take(windows, key, step);
    this.#changed.clear();
    Object.assign(step, this.#late.take());
    this.#hasClosed = false;
    this.#stepOrdinal = this.#ordinal;
    return step;
  }

  /** Takes over a rollup as stored, after a step or a correction changed it in the store. */
  restoreRollup({ runId, provider, symbol, bar, intervalMs, startUs, lastSeq }: BarRow): void {
    this.#symbols.get(runId, provider, symbol)?.restore({ intervalMs, startUs, bar, lastSeq });
  }

  /** Windows of the symbol before this were closed when the last step was taken, µs; null: unknown symbol. */
  takenEndUs({ runId, provider, symbol }: SymbolKey): number | null {
    return this.#symbols.get(runId, provider, symbol)?.takenEndUs ?? null;
  }

  /** Whether a transaction before the restart covers the entry: its effects are stored, except in windows still open. */
  isOld(position: string): boolean {
    const { position: done } = this.#resume;
    return this.#phase !== 'live' && done !== null && this.#compare(position, done) <= 0;
  }

  #endRebuilding(): void {
    const { position, openCount } = this.#resume;
    this.#phase = 'rebuilt';
    this.#position = position;
    this.lostEntries = Math.max(0, openCount - this.#ordinal);
    if (this.lostEntries > 0 && this.#rules.late === 'revise') this.#closeLost(position);
    this.#stepOrdinal = this.#ordinal;
  }

  /** The log was replaced: the entries of open windows were in the old one. */
  #loseLog(): void {
    this.lostEntries = this.#resume.openCount;
    if (this.#rules.late === 'revise') this.#closeLost(null);
  }

  /**
   * The bus has lost entries of open windows, and it is unknown which: all windows that may have been open are closed and
   * recomputed from what the tick consumer stored.
   */
  #closeLost(position: string | null): void {
    for (const [windows, key] of this.#symbols.live()) {
      for (const startUs of windows.closeSeen()) this.#late.mark(key.provider, key.symbol, startUs, position);
      this.#touched(windows, key);
    }
  }

  /** After the window length changed, a window may start before the closed end: it is recomputed from stored ticks. */
  #realign(windows: SymbolWindows, key: SymbolKey): void {
    const startUs = windows.realign();
    if (startUs === null) return;
    this.#touched(windows, key);
    if (this.#isRevised(key)) {
      this.#late.mark(key.provider, key.symbol, startUs, this.#resume.position);
    }
  }

  #touched(windows: SymbolWindows, key: SymbolKey): void {
    if (windows.open.length > 0) this.#active.set(windows, key);
    else this.#active.delete(windows);
    if (!windows.isChanged) return;
    this.#changed.set(windows, key);
    if (windows.closedCount > 0) this.#hasClosed = true;
  }

  #take(windows: SymbolWindows, key: SymbolKey, step: Step): void {
    if (windows.isChanged) step.watermarks.push({ ...key, ...windows.watermark });
    const { windows: closed, contested, rollups } = windows.take();
    for (const { startUs, bar, lastSeq, oldestIngestUs } of closed) {
      const intervalMs = this.#rules.windowMs;
      step.windows.push({ ...key, intervalMs, startUs, bar, isFinal: true, lastSeq });
      step.oldestIngestUs.push(oldestIngestUs);
    }
    for (const row of rollups) step.rollups.push({ ...key, ...row });
    // not earlier: only behind the last entry of such a window does tick_data hold all of them
    if (this.#isRevised(key)) {
      for (const startUs of contested)
        this.#late.mark(key.provider, key.symbol, startUs, step.position, 'alone');
    }
    this.skipped.ticks_seen += windows.skipped.ticks_seen;
    this.skipped.overlaps += windows.skipped.overlaps;
    windows.skipped.ticks_seen = windows.skipped.overlaps = 0;
  }

  /** Bars of live ticks are corrected from what the tick consumer stored. */
  #isRevised({ runId }: SymbolKey): boolean {
    return runId === 0n && this.#rules.late === 'revise';
  }

  #oldestOpen(): Place {
    let oldest: Place = { ordinal: this.#ordinal, after: this.#readPosition };
    for (const windows of this.#active.keys()) {
      for (const { place } of windows.open) if (place.ordinal < oldest.ordinal) oldest = place;
    }
    return oldest;
  }

  #windowsOf(event: MarketEvent): SymbolWindows {
    const { provider, symbol, replayRunId } = event;
    return this.#symbols.get(replayRunId ?? 0n, provider, symbol) ?? this.#add(keyOf(event), null);
  }

  #add(key: SymbolKey, known: Watermark | null): SymbolWindows {
    const windows = new SymbolWindows(this.#rules, known);
    this.#symbols.add(key, windows);
    return windows;
  }
}

function keyOf({ provider, symbol, replayRunId }: MarketEvent): SymbolKey {
  return { runId: replayRunId ?? 0n, provider, symbol };
}
