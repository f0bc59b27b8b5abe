import type { BarRow } from '../market/bar.ts';
import type { RollupState } from './rollup.ts';
import type { Watermark } from './symbol-windows.ts';

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
  /** last entry that a transaction covers; null: none was, or it lay in another log */
  position: string | null;
  openAfter: string | null;
  /** entries between the two: fewer now means that the bus lost some */
  openCount: number;
}
