import type { ExportRequest, Visibility } from '../../core/export/request.ts';
import type { Micros } from '../../core/time.ts';
import { selectList, textLiteral, timeLiteral, type Query } from '../queries/query.ts';
import { exportColumns, keyColumns, timeColumn } from './columns.ts';

/** A stretch of an export that one statement reads; times in µs since 1970, [from, to). */
export interface Slice {
  /** null: all of the request */
  readonly symbols: readonly string[] | null;
  readonly from: Micros;
  readonly to: Micros;
}

/** Up to so many symbols each one's index is read in order, and the rows are merged; the rows of more are sorted. */
const MERGED_MAX = 64;

/** The rows of a slice, by time and key. */
export function sliceQuery(request: ExportRequest, visibility: Visibility, slice: Slice): Query {
  const columns = exportColumns(request);
  const key = [`"${timeColumn(request)}"`, ...keyColumns(request)];
  const symbols = slice.symbols ?? request.symbols;
  const branches =
    request.dataset === 'chain' || symbols === null || symbols.length > MERGED_MAX
      ? [symbols]
      : symbols.map((symbol) => [symbol]);
  const rows = (of: readonly string[] | null): string =>
    source(request, visibility, { ...slice, symbols: of });
  const order = `ORDER BY ${key.join(', ')}`;
  const selected = selectList(columns);
  if (branches.length === 1)
    return { columns, sql: `SELECT ${selected} FROM (${rows(branches[0])}) r ${order}` };
  const merged = branches.map((of) => `(SELECT * FROM (${rows(of)}) b ${order})`).join(' UNION ALL ');
  return { columns, sql: `SELECT ${selected} FROM (${merged}) r ${order}` };
}

/** The time of the first or last row of a slice. Each series has a lookup of its own: what it costs is their number. Visibility apart. */
export function edgeQuery(request: ExportRequest, slice: Slice, edge: 'first' | 'last'): string {
  const { dataset, intervals } = request;
  const time = `"${timeColumn(request)}"`;
  const order = `ORDER BY ${time}${edge === 'first' ? '' : ' DESC'} LIMIT 1`;
  const symbols = slice.symbols ?? request.symbols;
  const each = tablesOf(request).map((table) => {
    const where = conditions({ ...request, intervals: [] }, { ...slice, symbols: null }, table);
    if (dataset === 'chain' || symbols === null)
      return `(SELECT ${time} AS t FROM ${table} r WHERE ${where.join(' AND ')} ${order})`;
    const series = [`unnest(${arrayOf(symbols)}) s (symbol)`];
    where.push('r.symbol = s.symbol');
    if (intervals.length > 0) {
      series.push(`unnest(${arrayOf(intervals)}) i ("interval")`);
      where.push('r."interval" = i."interval"');
    }
    return `(SELECT l.t FROM ${series.join(' CROSS JOIN ')} CROSS JOIN LATERAL (
        SELECT ${time} AS t FROM ${table} r WHERE ${where.join(' AND ')} ${order}) l)`;
  });
  return `SELECT ${edge === 'first' ? 'min' : 'max'}(t) AS t FROM (${each.join(' UNION ALL ')}) e`;
}

/** The symbols that a provider has in the tables of a request, in order. Each step goes to the next name in the index. */
export function symbolsQuery(request: ExportRequest, rowsMax: number): string {
  const of = tablesOf(request).map((table) => {
    const where = [`t.provider = ${textLiteral(request.provider ?? '')}`];
    if (table === 'bars_replay' && typeof request.run === 'bigint')
      where.push(`t.replay_run_id = ${request.run}`);
    const next = (behind: string): string =>
      `SELECT t.symbol FROM ${table} t WHERE ${[...where, ...(behind === '' ? [] : [behind])].join(' AND ')} ORDER BY t.symbol LIMIT 1`;
    return `(WITH RECURSIVE names AS ((${next('')}) UNION ALL
        SELECT (${next('t.symbol > n.symbol')}) FROM names n WHERE n.symbol IS NOT NULL)
      SELECT symbol FROM names WHERE symbol IS NOT NULL)`;
  });
  return `SELECT symbol FROM (${of.join(' UNION ')}) s ORDER BY symbol LIMIT ${rowsMax}`;
}

function arrayOf(values: readonly string[]): string {
  return `ARRAY[${values.map(textLiteral).join(', ')}]::text[]`;
}

/** All rows of the table(s) that the request means, with the columns that the select list and the order need. */
function source(request: ExportRequest, visibility: Visibility, slice: Slice): string {
  if (request.dataset === 'bars') return barsSource(request, visibility, slice);
  const where = (table: string): string =>
    [...conditions(request, slice, table), ...visible(request, visibility, 'tx', 'created_at')].join(' AND ');
  if (request.dataset !== 'chain') {
    const table = request.dataset === 'ticks' ? 'tick_data' : 'signals';
    return `SELECT * FROM ${table} r WHERE ${where(table)}`;
  }
  if (request.table === 'vdf_proofs')
    return `SELECT v.*, r."timestamp" FROM ticks r JOIN vdf_proofs v USING (tick_number) WHERE ${where('ticks')}`;
  return `SELECT * FROM ${request.table} r WHERE ${where(request.table)}`;
}

const BAR_VALUES =
  'provider, symbol, "interval", ts, open, high, low, close, volume, vwap, tick_count, first_ts, last_ts, is_final, revision, updated_at, created_at';

function barsSource(request: ExportRequest, visibility: Visibility, slice: Slice): string {
  const { run } = request;
  const select = (table: string, runId: string, written: readonly string[]): string =>
    `SELECT ${BAR_VALUES}, ${runId} AS replay_run_id FROM ${table} r WHERE ${[...conditions(request, slice, table), ...written].join(' AND ')}`;
  const replayed = (): string =>
    select('bars_replay', 'replay_run_id', visible(request, visibility, 'tx', 'updated_at'));
  if (run !== 'live' && run !== 'all') return replayed();
  const live =
    visibility.asOf === null
      ? select('bars_ohlcv', '0::bigint', visible(request, visibility, 'tx', 'updated_at'))
      : liveAsOf(request, visibility, slice);
  return run === 'live' ? live : `${live} UNION ALL ${replayed()}`;
}

/**
 * Of the versions of a bar that were written by then the last one. Which transaction wrote a replaced version is known of those that
 * were replaced since schema 014; of others, of each but the first: the one that replaced the version before.
 */
function liveAsOf(request: ExportRequest, visibility: Visibility, slice: Slice): string {
  const where = conditions(request, slice, 'bars_ohlcv').join(' AND ');
  const written = visible(request, visibility, 'written_tx', 'updated_at').join(' AND ');
  const versions = `
    SELECT ${BAR_VALUES}, tx AS written_tx FROM bars_ohlcv WHERE ${where}
    UNION ALL
    SELECT ${BAR_VALUES}, coalesce(written_tx, lag(tx) OVER (PARTITION BY provider, symbol, "interval", ts ORDER BY revision), '0'::xid8)
      FROM bars_history WHERE ${where}`;
  return `SELECT ${BAR_VALUES}, 0::bigint AS replay_run_id FROM (
      SELECT DISTINCT ON (provider, symbol, "interval", ts) * FROM (${versions}) v WHERE ${written}
       ORDER BY provider, symbol, "interval", ts, revision DESC) r WHERE true`;
}

function tablesOf({ dataset, run, table }: ExportRequest): string[] {
  if (dataset === 'ticks') return ['tick_data'];
  if (dataset === 'signals') return ['signals'];
  if (dataset === 'chain') return [table === 'vdf_proofs' ? 'ticks' : table];
  if (run === 'live') return ['bars_ohlcv'];
  return run === 'all' ? ['bars_ohlcv', 'bars_replay'] : ['bars_replay'];
}

function conditions(request: ExportRequest, { symbols, from, to }: Slice, table: string): string[] {
  const { dataset, provider, intervals, run } = request;
  const time = `"${timeColumn(request)}"`;
  const result: string[] = [];
  if (dataset !== 'chain') {
    result.push(`provider = ${textLiteral(provider ?? '')}`);
    if (symbols !== null) result.push(oneOf('symbol', symbols));
  }
  if (dataset === 'bars' && intervals.length > 0) result.push(oneOf('"interval"', intervals));
  if (dataset === 'signals' && run !== 'all') result.push(`replay_run_id = ${run === 'live' ? 0 : run}`);
  if (table === 'bars_replay' && typeof run === 'bigint') result.push(`replay_run_id = ${run}`);
  const column = dataset === 'chain' ? `r.${time}` : time;
  result.push(`${column} >= ${timeLiteral(from)}`, `${column} < ${timeLiteral(to)}`);
  return result;
}

function oneOf(column: string, values: readonly string[]): string {
  if (values.length === 1) return `${column} = ${textLiteral(values[0])}`;
  return values.length === 0 ? 'false' : `${column} IN (${values.map(textLiteral).join(', ')})`;
}

/** @param written the column with the transaction that wrote the row; @param at the column with the time of it */
function visible(request: ExportRequest, { asOf, since }: Visibility, written: string, at: string): string[] {
  const result: string[] = [];
  if (asOf !== null && 'snapshot' in asOf) result.push(seenBy(written, asOf.snapshot));
  if (asOf !== null && 'time' in asOf) result.push(`${at} <= ${timeLiteral(asOf.time)}`);
  if (since !== null) {
    const had = [seenBy(written, since.snapshot)];
    const time = `"${timeColumn(request)}"`;
    if (since.start > request.start) had.push(`${time} >= ${timeLiteral(since.start)}`);
    if (since.end < request.end) had.push(`${time} < ${timeLiteral(since.end)}`);
    result.push(`NOT (${had.join(' AND ')})`);
  }
  return result;
}

function seenBy(column: string, snapshot: string): string {
  return `pg_visible_in_snapshot(${column}, ${textLiteral(snapshot)}::pg_snapshot)`;
}
