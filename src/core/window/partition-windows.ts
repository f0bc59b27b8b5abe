import type { BarKey, BarRow } from '../market/bar.ts';
import type { MarketEvent, TickEvent } from '../market/event.ts';
import type { BarSkip, Place } from './open-window.ts';
import { windowEndUs, windowStartUs, type RollupState } from './rollup.ts';
import { SymbolWindows, type Verdict, type Watermark, type WindowRules } from './symbol-windows.ts';

export type LatePolicy = 'revise' | 'drop' | 'dlq';

export interface BarRules extends WindowRules {
  late: LatePolicy;
  /** revise: how far behind its symbol's watermark the end of a window may lie that is still corrected, ms */
  reviseHorizonMs: number;
  /** a symbol without an event for so long has its windows closed, ms by the clock of the bus */
  idleTimeoutMs: number;
}

/** What became of an event; where its window was closed, what the policy made of it. */
export type Fate =
  | Exclude<Verdict, 'late'>
  /** its window is marked: recomputed once the tick consumer has passed it */
  | 'marked'
  /** policy drop */
  | 'dropped'
  /** policy dlq, and bars that come late */
  | 'late'
  /** beyond the horizon of revisions */
  | 'too_late'
  /** of a replay, which goes on behind a window that was closed */
  | 'extended';

/** A symbol of live events (runId 0) or of a replay. */
export interface SymbolKey {
  runId: bigint;
  provider: string;
  symbol: string;
}

export interface KnownSymbol extends SymbolKey, Watermark {
  rollups: readonly RollupState[];
}

/** A closed window that got a late event. */
export interface LateWindow {
  provider: string;
  symbol: string;
  startUs: number;
  endUs: number;
  /** the tick consumer must have passed this; null: nothing is waited for */
  position: string | null;
}

/** Ticks of a replay behind what its closed window holds, in the order they came. */
export interface Extension extends SymbolKey {
  startUs: number;
  ticks: { srcUs: number; seq: bigint; price: number; size: number | null }[];
}

/** What one transaction makes true: everything up to `position` is in it or was before. */
export interface Step {
  position: string | null;
  openAfter: string | null;
  openCount: number;
  dropped: number;
  windows: BarRow[];
  rollups: BarRow[];
  watermarks: (SymbolKey & Watermark)[];
  late: LateWindow[];
  extensions: Extension[];
  /** events that it covers */
  events: number;
  /** for the measure of latency: of each window the ingest time of its oldest event, µs */
  oldestIngestUs: number[];
}

/** Where a restart goes on. */
export interface Resume {
  /** last entry that a transaction covers; null: none was */
  position: string | null;
  openAfter: string | null;
  /** entries between the two: fewer now means that the bus lost some */
  openCount: number;
}

/**
 * All windows of one partition: entries in, steps out.
 *
 *   entry ─► its symbol's window, or what the policy makes of a late one
 *            watermark past the end, or the symbol idle ─► the window closes ─► its bar, rollups merged
 *   takeStep() ─► closed bars, changed rollups, watermarks, marks and the position, for one transaction
 *
 * A restart reads from `openAfter`: entries up to `position` rebuild what was open and are passed over where it was closed.
 */
export class PartitionWindows {
  readonly #rules: BarRules;
  readonly #resume: Resume;
  readonly #compare: (a: string, b: string) => number;
  /** by run and provider, then by symbol */
  readonly #symbols = new Map<string, Map<string, SymbolWindows>>();
  /** those with open windows */
  readonly #active = new Map<SymbolWindows, SymbolKey>();
  /** those with something for the next step */
  readonly #changed = new Map<SymbolWindows, SymbolKey>();
  #late = new Map<string, LateWindow>();
  #extensions = new Map<string, Extension>();
  #rebuilding: boolean;
  #ordinal = 0;
  #position: string | null;
  #stepOrdinal = 0;
  #hasClosed = false;
  #dropped = 0;
  #busMs = -Infinity;
  readonly skipped: Record<BarSkip, number> = { ticks_seen: 0, overlaps: 0 };
  /** entries of open windows that were there before the restart and are not on the bus any more */
  lostEntries = 0;

  constructor(
    rules: BarRules,
    resume: Resume,
    known: Iterable<KnownSymbol>,
    compare: (a: string, b: string) => number,
  ) {
    this.#rules = rules;
    this.#resume = resume;
    this.#compare = compare;
    this.#position = resume.openAfter;
    this.#rebuilding = resume.position !== null && resume.position !== resume.openAfter;
    for (const { runId, provider, symbol, rollups, ...watermark } of known) {
      const windows = this.#add({ runId, provider, symbol }, watermark);
      for (const rollup of rollups) windows.restore(rollup);
    }
  }

  /** Entries are read again that a transaction covered before the restart. */
  get isRebuilding(): boolean {
    return this.#rebuilding;
  }

  /** Events that the next step would cover. */
  get eventsSinceStep(): number {
    return this.#ordinal - this.#stepOrdinal;
  }

  /** Whether the next step writes more than a position. */
  get hasWork(): boolean {
    return this.#hasClosed || this.#late.size > 0 || this.#extensions.size > 0 || this.#dropped > 0;
  }

  get activeWindows(): number {
    let count = 0;
    for (const windows of this.#active.keys()) count += windows.open.length;
    return count;
  }

  /**
   * The next entry of the partition.
   * @param event null: nothing that bars are made of (malformed, moved to another partition, lost by the bus)
   */
  apply(position: string, takenMs: number, event: MarketEvent | null): Fate | null {
    const isOld = this.isOld(position);
    if (this.#rebuilding && !isOld) this.#endRebuilding();
    const place: Place = { ordinal: this.#ordinal, after: this.#position };
    this.#ordinal += 1;
    this.#position = position;
    if (takenMs > this.#busMs) this.#busMs = takenMs;
    if (event === null) return null;
    const windows = this.#windowsOf(event);
    windows.heardMs = takenMs;
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
    if (this.#rebuilding && this.#resume.position === position) this.#endRebuilding();
    return verdict === 'late' ? this.#judgeLate(event, windows, position) : verdict;
  }

  /** There is nothing behind the last entry for now: what was read before the restart and did not come again is lost. */
  caughtUp(): void {
    if (this.#rebuilding) this.#endRebuilding();
  }

  /**
   * Closes what is idle. To be called often, also without entries.
   * @param quietMs since the newest entry was read, with nothing behind it
   */
  closeIdle(quietMs: number): void {
    // a symbol may seem idle that was not when these entries were first read
    if (this.#rebuilding) return;
    const nowMs = this.#busMs + quietMs;
    for (const [windows, key] of this.#active) {
      if (nowMs - windows.heardMs < this.#rules.idleTimeoutMs) continue;
      windows.closeAll();
      this.#touched(windows, key);
    }
  }

  /** Everything up to here, for one transaction; the next one begins behind it. Never while it rebuilds. */
  takeStep(): Step {
    const { after, ordinal } = this.#oldestOpen();
    const step: Step = {
      position: this.#position,
      openAfter: after,
      openCount: this.#ordinal - ordinal,
      dropped: this.#dropped,
      windows: [],
      rollups: [],
      watermarks: [],
      late: [...this.#late.values()],
      extensions: [...this.#extensions.values()],
      events: this.eventsSinceStep,
      oldestIngestUs: [],
    };
    for (const [windows, key] of this.#changed) this.#take(windows, key, step);
    this.#changed.clear();
    this.#late = new Map();
    this.#extensions = new Map();
    this.#dropped = 0;
    this.#hasClosed = false;
    this.#stepOrdinal = this.#ordinal;
    return step;
  }

  /** What the store holds of a rollup after a step or a correction changed it there. */
  restoreRollup({ runId, provider, symbol, bar, intervalMs, startUs, lastSeq }: BarRow): void {
    this.#find(runId, provider, symbol)?.restore({ intervalMs, startUs, bar, lastSeq });
  }

  /** Before this the windows of the symbol were closed when the last step was taken, µs; null: it is not known here. */
  takenEndUs({ runId, provider, symbol }: SymbolKey): number | null {
    return this.#find(runId, provider, symbol)?.takenEndUs ?? null;
  }

  /** Whether a transaction before the restart covers the entry: what it led to is done, but for windows that were open. */
  isOld(position: string): boolean {
    const { position: done } = this.#resume;
    return this.#rebuilding && done !== null && this.#compare(position, done) <= 0;
  }

  #endRebuilding(): void {
    const { position, openCount } = this.#resume;
    this.#rebuilding = false;
    if (this.#position !== position) this.#position = position;
    this.lostEntries = Math.max(0, openCount - this.#ordinal);
    if (this.lostEntries > 0) this.#markOpen(position);
    this.#stepOrdinal = this.#ordinal;
  }

  /** The bus has lost entries of open windows: what the tick consumer stored of them is asked. */
  #markOpen(position: string | null): void {
    for (const [windows, { runId, provider, symbol }] of this.#active) {
      if (runId !== 0n || this.#rules.late !== 'revise') continue;
      for (const { startUs } of windows.open) this.#mark(provider, symbol, startUs, position);
    }
  }

  #judgeLate(event: MarketEvent, windows: SymbolWindows, position: string): Fate {
    const srcUs = Number(event.srcTs);
    const startUs = windowStartUs(srcUs, this.#rules.windowMs);
    if (event.kind === 'bar') return 'late';
    if (event.replayRunId !== null) return this.#extend(event, event.replayRunId, startUs);
    if (this.#rules.late === 'dlq') return 'late';
    if (this.#rules.late === 'drop') {
      this.#dropped += 1;
      return 'dropped';
    }
    const endUs = windowEndUs(startUs, this.#rules.windowMs);
    if (endUs + this.#rules.reviseHorizonMs * 1000 <= windows.watermarkUs) return 'too_late';
    this.#mark(event.provider, event.symbol, startUs, position);
    return 'marked';
  }

  #mark(provider: string, symbol: string, startUs: number, position: string | null): void {
    const endUs = windowEndUs(startUs, this.#rules.windowMs);
    this.#late.set(`${provider}|${symbol}|${startUs}`, { provider, symbol, startUs, endUs, position });
  }

  #extend(tick: TickEvent, runId: bigint, startUs: number): 'extended' {
    const { provider, symbol, seq, price, size } = tick;
    const key = `${runId}|${provider}|${symbol}|${startUs}`;
    let extension = this.#extensions.get(key);
    if (extension === undefined) {
      extension = { runId, provider, symbol, startUs, ticks: [] };
      this.#extensions.set(key, extension);
    }
    extension.ticks.push({ srcUs: Number(tick.srcTs), seq, price, size });
    return 'extended';
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
    const { windows: closed, rollups } = windows.take();
    for (const { startUs, bar, lastSeq, oldestIngestUs } of closed) {
      const intervalMs = this.#rules.windowMs;
      step.windows.push({ ...key, intervalMs, startUs, bar, isFinal: true, lastSeq });
      step.oldestIngestUs.push(oldestIngestUs);
    }
    for (const row of rollups) step.rollups.push({ ...key, ...row });
    this.skipped.ticks_seen += windows.skipped.ticks_seen;
    this.skipped.overlaps += windows.skipped.overlaps;
    windows.skipped.ticks_seen = windows.skipped.overlaps = 0;
  }

  #oldestOpen(): Place {
    let oldest: Place = { ordinal: this.#ordinal, after: this.#position };
    for (const windows of this.#active.keys()) {
      for (const { place } of windows.open) if (place.ordinal < oldest.ordinal) oldest = place;
    }
    return oldest;
  }

  #windowsOf(event: MarketEvent): SymbolWindows {
    const { provider, symbol, replayRunId } = event;
    return this.#find(replayRunId ?? 0n, provider, symbol) ?? this.#add(keyOf(event), null);
  }

  #find(runId: bigint, provider: string, symbol: string): SymbolWindows | undefined {
    return this.#symbols.get(runId === 0n ? provider : `${provider}|${runId}`)?.get(symbol);
  }

  #add({ runId, provider, symbol }: SymbolKey, known: Watermark | null): SymbolWindows {
    const name = runId === 0n ? provider : `${provider}|${runId}`;
    let symbols = this.#symbols.get(name);
    if (symbols === undefined) {
      symbols = new Map();
      this.#symbols.set(name, symbols);
    }
    const windows = new SymbolWindows(this.#rules, known);
    symbols.set(symbol, windows);
    return windows;
  }
}

function keyOf({ provider, symbol, replayRunId }: MarketEvent): SymbolKey {
  return { runId: replayRunId ?? 0n, provider, symbol };
}

/** What identifies a bar, for maps. */
export function barId({ provider, symbol, intervalMs, startUs }: BarKey): string {
  return `${provider}|${symbol}|${intervalMs}|${startUs}`;
}
