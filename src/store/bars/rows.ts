import type { Client } from 'pg';
import type { Bar, BarRow } from '../../core/market/bar.ts';
import { intervalName, parseInterval } from '../../core/market/interval.ts';
import {
  differingStatement,
  insertStatement,
  readStatement,
  replaceStatement,
  rollupStatement,
  type BarTable,
  type ReplaceRule,
  type StartSpan,
} from './sql.ts';

/** Bars as the statements read them. JSON has no infinities: such a double travels by name. */
export function rowsJson(rows: readonly BarRow[]): string {
  return JSON.stringify(
    rows.map(({ runId, provider, symbol, intervalMs, startUs, bar, isFinal, lastSeq }) => ({
      replay_run_id: runId.toString(),
      provider,
      symbol,
      interval: intervalName(intervalMs),
      ts: startUs,
      open: bar.open,
      high: bar.high,
      low: bar.low,
      close: bar.close,
      volume: double(bar.volume),
      vwap: bar.vwap,
      tick_count: bar.tickCount,
      first_ts: bar.firstUs,
      last_ts: bar.lastUs,
      volume_parts: bar.volumeParts.length > 1 ? bar.volumeParts : null,
      pv_parts: bar.pvParts,
      is_final: isFinal,
      last_seq: lastSeq.toString(),
    })),
  );
}

function double(value: number): number | string {
  return Number.isFinite(value) ? value : String(value);
}

/** A row with the columns of the statements: pg returns int8 as text. */
export interface SelectedBar {
  run: string;
  provider: string;
  symbol: string;
  interval: string;
  ts: string;
  open: number;
  high: number;
  low: number;
  close: number;
  volume: number;
  vwap: number | null;
  tick_count: string;
  first_ts: string;
  last_ts: string;
  volume_parts: number[] | null;
  pv_parts: number[] | null;
  is_final: boolean;
  last_seq: string;
}

function barOfRow(row: SelectedBar): Bar {
  const { open, high, low, close, volume, vwap } = row;
  return {
    open,
    high,
    low,
    close,
    volume,
    vwap,
    tickCount: Number(row.tick_count),
    firstUs: Number(row.first_ts),
    lastUs: Number(row.last_ts),
    volumeParts: row.volume_parts ?? (volume === 0 ? [] : [volume]),
    pvParts: row.pv_parts,
  };
}

export function barRowOf(row: SelectedBar): BarRow {
  return {
    runId: BigInt(row.run),
    provider: row.provider,
    symbol: row.symbol,
    intervalMs: parseInterval(row.interval) ?? 0,
    startUs: Number(row.ts),
    bar: barOfRow(row),
    isFinal: row.is_final,
    lastSeq: BigInt(row.last_seq),
  };
}

/** Adds those that are missing. Returns the others whose values differ from the stored ones, which stay. */
export async function insertBars(
  client: Client,
  table: BarTable,
  rows: readonly BarRow[],
): Promise<{ inserted: number; differing: BarRow[] }> {
  if (rows.length === 0) return { inserted: 0, differing: [] };
  const json = rowsJson(rows);
  const { rows: counts } = await client.query<{ n: string }>(insertStatement(table, '$1'), [json]);
  const inserted = Number(counts[0]?.n);
  return {
    inserted,
    differing: inserted === rows.length ? [] : await differingBars(client, table, rows, json),
  };
}

/**
 * Writes open rollups in place, and finalises complete ones. Rows that are already final, or hold more ticks, are ahead
 * of the caller and stay. Returns the final ones that differ in the table.
 */
export async function writeRollups(
  client: Client,
  table: BarTable,
  rows: readonly BarRow[],
): Promise<{ written: number; differing: BarRow[] }> {
  if (rows.length === 0) return { written: 0, differing: [] };
  const json = rowsJson(rows);
  const { rows: counts } = await client.query<{ n: string }>(rollupStatement(table, '$1'), [json]);
  const hasFinal = rows.some(({ isFinal }) => isFinal);
  return {
    written: Number(counts[0]?.n),
    differing: hasFinal ? await differingBars(client, table, rows, json) : [],
  };
}

async function differingBars(
  client: Client,
  table: BarTable,
  bars: readonly BarRow[],
  json: string,
): Promise<BarRow[]> {
  const sql = differingStatement(table, '$1', spanOf(bars));
  const { rows } = await client.query<SelectedBar>(sql, [json]);
  return rows.map(barRowOf);
}

/** Of at least one window. */
export function spanOf(windows: readonly Pick<BarRow, 'startUs'>[]): StartSpan {
  const span = { fromUs: Infinity, toUs: -Infinity };
  for (const { startUs } of windows) {
    span.fromUs = Math.min(span.fromUs, startUs);
    span.toUs = Math.max(span.toUs, startUs);
  }
  return span;
}

/** A bar that was added or changed. */
export interface ChangedBar {
  row: BarRow;
  /** the current revision; above 0 a final bar was replaced, 0: it was missing, or still open */
  revision: number;
  /** how many ticks it gained */
  ticksAdded: number;
}

/**
 * Corrects bars: adds missing ones, and overwrites those that differ if the rule allows it. A final row that is
 * replaced goes to bars_history and its revision rises. Returns those that changed.
 */
export async function replaceBars(
  client: Client,
  table: BarTable,
  rows: readonly BarRow[],
  rule: ReplaceRule,
): Promise<ChangedBar[]> {
  if (rows.length === 0) return [];
  const { rows: changed } = await client.query<SelectedBar & { revision: number; added: string }>(
    replaceStatement(table, '$1', rule, spanOf(rows)),
    [rowsJson(rows)],
  );
  return changed.map((row) => ({
    row: barRowOf(row),
    revision: row.revision,
    ticksAdded: Number(row.added),
  }));
}

/** Which bars: all of one length whose windows start in [startUs, endUs). */
export interface BarRange {
  runId: bigint;
  provider: string;
  symbol: string;
  intervalMs: number;
  startUs: number;
  endUs: number;
}

/** The bars of each range, in the order of their windows; [] if none. */
export async function readBars(
  client: Client,
  table: BarTable,
  ranges: readonly BarRange[],
): Promise<BarRow[][]> {
  const found: BarRow[][] = ranges.map(() => []);
  if (ranges.length === 0) return found;
  const span = { fromUs: spanOf(ranges).fromUs, toUs: Math.max(...ranges.map(({ endUs }) => endUs)) };
  const { rows } = await client.query<SelectedBar & { ord: string }>(readStatement(table, span), [
    ranges.map(({ runId }) => runId.toString()),
    ranges.map(({ provider }) => provider),
    ranges.map(({ symbol }) => symbol),
    ranges.map(({ intervalMs }) => intervalName(intervalMs)),
    ranges.map(({ startUs }) => startUs),
    ranges.map(({ endUs }) => endUs),
  ]);
  for (const { ord, ...row } of rows) found[Number(ord) - 1]?.push(barRowOf(row));
  return found;
}
