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
  /** the tick consumer must have passed this position; null: no need to wait */
  position: string | null;
}

/** Late ticks for a closed window of a replay, in arrival order. */
export interface Extension extends SymbolKey {
  startUs: number;
  ticks: { srcUs: number; seq: bigint; price: number; size: number | null }[];
}

/** The content of one transaction; after it everything up to `position` is stored. */
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
  /** number of events it covers */
  events: number;
  /** for the latency metric: per window the ingest time of its oldest event, µs */
  oldestIngestUs: number[];
}

/** Where a restart resumes. */
export interface Resume {
  /** last entry covered by a transaction; null: there is none, or it belongs to another log */
  position: string | null;
  openAfter: string | null;
  /** entries between the two: finding fewer means that the bus lost some */
  openCount: number;
}
