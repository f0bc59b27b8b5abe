import { BarMerger, type Bar } from '../market/bar.ts';

/** Lengths of the coarser bars, ms, each a multiple of the one before: 1m, 5m, 1h, 1d. */
const LEVELS_MS = [60_000, 300_000, 3_600_000, 86_400_000] as const;

const MICROS_PER_MS = 1000;

/** The rollup lengths for windows of this length: all that are longer. */
export function rollupsOf(windowMs: number): number[] {
  return LEVELS_MS.filter((ms) => ms > windowMs);
}

/** The length a rollup is merged from: the next finer rollup, or the windows themselves. */
export function finerOf(rollupMs: number, windowMs: number): number {
  const below = rollupsOf(windowMs).filter((ms) => ms < rollupMs);
  return below.at(-1) ?? windowMs;
}

/** Start of the window of this length that holds the time. Windows are aligned to the epoch. */
export function windowStartUs(timeUs: number, intervalMs: number): number {
  const length = intervalMs * MICROS_PER_MS;
  return Math.floor(timeUs / length) * length;
}

export function windowEndUs(startUs: number, intervalMs: number): number {
  return startUs + intervalMs * MICROS_PER_MS;
}

/** A rollup as it stands. */
export interface RollupState {
  intervalMs: number;
  startUs: number;
  bar: Bar;
  lastSeq: bigint;
}

/** A rollup to be written: final once all its windows are closed. */
export interface RollupRow extends RollupState {
  isFinal: boolean;
}

/** A rollup in progress. */
interface Merging {
  readonly intervalMs: number;
  readonly startUs: number;
  merger: BarMerger;
  lastSeq: bigint;
}

/** A closed window on its way to the store. */
export interface ClosedWindow {
  startUs: number;
  bar: Bar;
  lastSeq: bigint;
  /** ingest time of its oldest event, µs */
  oldestIngestUs: number;
}

/** The rollups of one symbol: each window that closes is merged into one of each length. */
export class Rollups {
  readonly #lengths: readonly number[];
  /** at most one of each length */
  readonly #open = new Map<number, Merging>();
  readonly #changed = new Set<Merging>();
  /** complete and not yet taken */
  #final: Merging[] = [];

  constructor(windowMs: number) {
    this.#lengths = rollupsOf(windowMs);
  }

  get finalCount(): number {
    return this.#final.length;
  }

  /** Merges the bar of a window that closes; windows must come in order. */
  add({ startUs, bar, lastSeq }: ClosedWindow): void {
    this.close(startUs);
    for (const intervalMs of this.#lengths) {
      let merging = this.#open.get(intervalMs);
      if (merging === undefined) {
        const own = windowStartUs(startUs, intervalMs);
        merging = { intervalMs, startUs: own, merger: new BarMerger(), lastSeq };
        this.#open.set(intervalMs, merging);
      }
      merging.merger.add(bar);
      merging.lastSeq = lastSeq;
      this.#changed.add(merging);
    }
  }

  /** Completes the rollups that end at or before closedEndUs. */
  close(closedEndUs: number): void {
    for (const [intervalMs, merging] of this.#open) {
      if (windowEndUs(merging.startUs, intervalMs) > closedEndUs) continue;
      this.#final.push(merging);
      this.#changed.delete(merging);
      this.#open.delete(intervalMs);
    }
  }

  /**
   * Replaces the state of a rollup by what is stored, at a start and after a correction; `waiting` are windows that are
   * closed but not stored yet. A rollup that was complete and taken is left alone.
   */
  restore(stored: RollupState, closedEndUs: number, waiting: readonly ClosedWindow[]): void {
    const { intervalMs, startUs, bar } = stored;
    if (!this.#lengths.includes(intervalMs)) return;
    const isSame = (merging: Merging | undefined): boolean =>
      merging?.intervalMs === intervalMs && merging.startUs === startUs;
    let merging = [this.#open.get(intervalMs), ...this.#final].find(isSame);
    if (merging === undefined) {
      if (this.#open.has(intervalMs) || windowEndUs(startUs, intervalMs) <= closedEndUs) return;
      merging = { intervalMs, startUs, merger: new BarMerger(), lastSeq: 0n };
      this.#open.set(intervalMs, merging);
    }
    merging.merger = new BarMerger();
    merging.merger.add(bar);
    merging.lastSeq = stored.lastSeq;
    for (const window of waiting) {
      if (windowStartUs(window.startUs, intervalMs) !== startUs) continue;
      merging.merger.add(window.bar);
      merging.lastSeq = window.lastSeq;
    }
  }

  /** Rollups that were completed, and open ones that changed, since the last call. */
  take(): RollupRow[] {
    const rows = [
      ...this.#final.flatMap((merging) => rowOf(merging, true)),
      ...[...this.#changed].flatMap((merging) => rowOf(merging, false)),
    ];
    this.#final = [];
    this.#changed.clear();
    return rows;
  }
}

function rowOf({ intervalMs, startUs, merger, lastSeq }: Merging, isFinal: boolean): RollupRow[] {
  const bar = merger.bar();
  return bar === null ? [] : [{ intervalMs, startUs, bar, lastSeq, isFinal }];
}

/** The rollups that may be open for a symbol whose windows before closedEndUs are closed, by length and start. */
export function openRollups(
  closedEndUs: number,
  windowMs: number,
): Pick<RollupState, 'intervalMs' | 'startUs'>[] {
  return rollupsOf(windowMs)
    .map((intervalMs) => ({ intervalMs, startUs: windowStartUs(closedEndUs - 1, intervalMs) }))
    .filter(({ intervalMs, startUs }) => windowEndUs(startUs, intervalMs) > closedEndUs);
}
