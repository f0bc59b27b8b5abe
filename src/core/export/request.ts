import type { Micros } from '../time.ts';

export const DATASETS = ['ticks', 'bars', 'signals', 'chain'] as const;
/** What the store has as rows. Features are computed: serve/export/features.ts. */
export type Dataset = (typeof DATASETS)[number];

export const CHAIN_TABLES = ['ticks', 'vdf_proofs', 'tick_transactions'] as const;
export type ChainTable = (typeof CHAIN_TABLES)[number];

/** Runs whose bars and signals are meant: live ones, those of one replay, or all with a column that tells them apart. */
export type RunChoice = 'live' | 'all' | bigint;

/** Which rows an export has. Times are µs since 1970, [start, end). */
export interface ExportRequest {
  readonly dataset: Dataset;
  /** null: of the chain */
  readonly provider: string | null;
  /** in order, each once; null: all of the provider */
  readonly symbols: readonly string[] | null;
  readonly start: Micros;
  readonly end: Micros;
  /** of bars, as the table has them: 1m; in the order of their names. Empty: not bars */
  readonly intervals: readonly string[];
  /** of bars and signals */
  readonly run: RunChoice;
  /** of the chain */
  readonly table: ChainTable;
}

/** Which rows of an export are written, beyond its request. */
export interface Visibility {
  /** those that this state of the database had: a pg_snapshot, or a time by which they were written. Null: all */
  readonly asOf: { readonly snapshot: string } | { readonly time: Micros } | null;
  /** without those that an earlier export of the same rows had */
  readonly since: EarlierExport | null;
}

export interface EarlierExport {
  /** a pg_snapshot */
  readonly snapshot: string;
  /** what it covered, µs since 1970, [start, end) */
  readonly start: Micros;
  readonly end: Micros;
}
