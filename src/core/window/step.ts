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

/** A closed window that got a late event, or is contested. */
export interface LateWindow {
  provider: string;
  symbol: string;
  startUs: number;
  endUs: number;
  /** the tick consumer must have passed this position; null: no need to wait */
  position: string | null;
  contested?: Contested | undefined;
}

/**
 * Another content of its ticks may be stored than the bar holds, or another program may have changed the bar. alone: no event
 * came late, so its bar has the right ticks but for those that could not be stored; too: one did.
 */
export type Contested = 'alone' | 'too';

/** What two marks of one window say together. */
export function bothContested(a: Contested | undefined, b: Contested | undefined): Contested | undefined {
  return a === b ? a : 'too';
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
