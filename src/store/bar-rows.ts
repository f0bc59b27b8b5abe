import type { Client } from 'pg';
import type { Bar, BarRow } from '../core/market/bar.ts';
import { intervalName, parseInterval } from '../core/market/interval.ts';

/** bars_ohlcv holds live bars and keeps replaced versions; bars_replay holds those of replay runs. */
export type BarTable = 'bars_ohlcv' | 'bars_replay';

const VALUES = [
  'open',
  'high',
  'low',
  'close',
  'volume',
  'vwap',
  'tick_count',
  'first_ts',
  'last_ts',
  'volume_parts',
  'pv_parts',
] as const;

const KEYS: Readonly<Record<BarTable, string>> = {
  bars_ohlcv: 'provider, symbol, "interval", ts',
  bars_replay: 'replay_run_id, provider, symbol, "interval", ts',
};
const COLUMNS: Readonly<Record<BarTable, string>> = {
  bars_ohlcv: `${KEYS.bars_ohlcv}, ${VALUES.join(', ')}, is_final`,
  bars_replay: `${KEYS.bars_replay}, ${VALUES.join(', ')}, is_final, last_seq`,
};
const HISTORY_COLUMNS = `provider, symbol, "interval", ts, revision, ${VALUES.join(', ')}, is_final, created_at, updated_at`;

/** A time of µs since 1970, exact: the product of one microsecond and a whole number below 2^53. */
const time = (micros: string): string => `timestamptz 'epoch' + ${micros} * interval '1 microsecond'`;
export const microsOf = (column: string): string => `(extract(epoch FROM ${column}) * 1000000)::bigint`;

/** The rows of parameter 1 (rowsJson) with the names and types of the columns. JSON carries doubles digit by digit. */
const INCOMING = `incoming AS MATERIALIZED (
  SELECT r.replay_run_id, r.provider, r.symbol, r."interval", ${time('r.ts')} AS ts, r.open, r.high, r.low, r.close, r.volume,
         r.vwap, r.tick_count, ${time('r.first_ts')} AS first_ts, ${time('r.last_ts')} AS last_ts,
         r.volume_parts, r.pv_parts, r.is_final, r.last_seq
    FROM json_to_recordset($1::json) AS r (replay_run_id bigint, provider text, symbol text, "interval" text, ts bigint,
         open float8, high float8, low float8, close float8, volume float8, vwap float8, tick_count bigint, first_ts bigint,
         last_ts bigint, volume_parts float8[], pv_parts float8[], is_final boolean, last_seq bigint))`;

const values = (of: string): string => `(${VALUES.map((name) => `${of}.${name}`).join(', ')})`;
const DIFFERS = (a: string, b: string): string => `${values(a)} IS DISTINCT FROM ${values(b)}`;
const SAME_KEY = (table: BarTable): string =>
  `b.provider = i.provider AND b.symbol = i.symbol AND b."interval" = i."interval" AND b.ts = i.ts` +
  (table === 'bars_replay' ? ' AND b.replay_run_id = i.replay_run_id' : '');
/** in the order of the key, so that two writers of the same rows do not deadlock */
const SELECT_INCOMING = (table: BarTable): string =>
  `SELECT ${COLUMNS[table]} FROM incoming ORDER BY ${KEYS[table]}`;
const SET_VALUES = [...VALUES.map((name) => `${name} = excluded.${name}`)].join(', ');
const SET_TOUCHED = 'updated_at = now(), tx = pg_current_xact_id()';
const SET_LAST_SEQ = (table: BarTable): string =>
  table === 'bars_replay' ? ', last_seq = excluded.last_seq' : '';

/** Bars as INCOMING reads them. A double beyond all bounds has no JSON: it travels as its name. */
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

const SELECTED = (of: string, table: BarTable): string =>
  `${table === 'bars_replay' ? `${of}.replay_run_id` : '0'} AS run, ${of}.provider, ${of}.symbol, ${of}."interval", ${microsOf(`${of}.ts`)} AS ts,
   ${of}.open, ${of}.high, ${of}.low, ${of}.close, ${of}.volume, ${of}.vwap, ${of}.tick_count,
   ${microsOf(`${of}.first_ts`)} AS first_ts, ${microsOf(`${of}.last_ts`)} AS last_ts, ${of}.volume_parts, ${of}.pv_parts, ${of}.is_final,
   ${table === 'bars_replay' ? `${of}.last_seq` : '0'} AS last_seq`;

/** A row as SELECTED names it: pg hands int8 over as text. */
interface Selected {
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

function barOfRow(row: Selected): Bar {
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

function rowOf(row: Selected): BarRow {
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

/** Adds those that are not there. Returns the others whose values differ from the stored ones, which stay. */
export async function insertBars(
  client: Client,
  table: BarTable,
  rows: readonly BarRow[],
): Promise<{ inserted: number; differing: BarRow[] }> {
  if (rows.length === 0) return { inserted: 0, differing: [] };
  const json = rowsJson(rows);
  const { rows: counts } = await client.query<{ n: string }>(
    `WITH ${INCOMING}, written AS (
       INSERT INTO ${table} (${COLUMNS[table]}) ${SELECT_INCOMING(table)} ON CONFLICT DO NOTHING RETURNING 1)
     SELECT count(*) AS n FROM written`,
    [json],
  );
  const inserted = Number(counts[0]?.n);
  return { inserted, differing: inserted === rows.length ? [] : await differingBars(client, table, json) };
}

/**
 * Writes open rollups in place, and makes final what is complete. Rows that are final already, or hold more ticks, know more
 * than the caller and stay. Returns the final ones that the table has otherwise.
 */
export async function writeRollups(
  client: Client,
  table: BarTable,
  rows: readonly BarRow[],
): Promise<{ written: number; differing: BarRow[] }> {
  if (rows.length === 0) return { written: 0, differing: [] };
  const { rows: counts } = await client.query<{ n: string }>(
    `WITH ${INCOMING}, written AS (
       INSERT INTO ${table} AS b (${COLUMNS[table]}) ${SELECT_INCOMING(table)}
       ON CONFLICT (${KEYS[table]}) DO UPDATE SET ${SET_VALUES}, is_final = excluded.is_final, ${SET_TOUCHED}${SET_LAST_SEQ(table)}
         WHERE NOT b.is_final AND excluded.tick_count >= b.tick_count
           AND (excluded.is_final OR ${DIFFERS('b', 'excluded')})
       RETURNING 1)
     SELECT count(*) AS n FROM written`,
    [rowsJson(rows)],
  );
  const finals = rows.filter(({ isFinal }) => isFinal);
  const differing = finals.length === 0 ? [] : await differingBars(client, table, rowsJson(finals));
  return { written: Number(counts[0]?.n), differing };
}

/** Those of the caller's rows that the table has with other values, or not as final. */
async function differingBars(client: Client, table: BarTable, json: string): Promise<BarRow[]> {
  const { rows } = await client.query<Selected>(
    `WITH ${INCOMING} SELECT ${SELECTED('i', 'bars_replay')} FROM incoming i JOIN ${table} b ON ${SAME_KEY(table)}
      WHERE ${DIFFERS('i', 'b')} OR b.is_final <> i.is_final`,
    [json],
  );
  return rows.map(rowOf);
}

/** Which rows may be written over: any that differ, those with at most as many ticks, those with fewer. */
export type ReplaceRule = 'differs' | 'not_poorer' | 'richer';

const REPLACED_WHEN: Readonly<Record<ReplaceRule, string>> = {
  differs: '',
  not_poorer: ' AND NEW.tick_count >= b.tick_count',
  richer: ' AND NEW.tick_count > b.tick_count',
};

/** A bar that was added or changed. */
export interface ChangedBar {
  row: BarRow;
  /** as it is now; above 0 a final one was replaced, 0: it was not there, or still open */
  revision: number;
}

/**
 * Corrects bars: adds what is not there, and writes over what differs and the rule lets go. A final row that is replaced goes
 * to bars_history and its revision rises. Returns those that changed.
 */
export async function replaceBars(
  client: Client,
  table: BarTable,
  rows: readonly BarRow[],
  rule: ReplaceRule,
): Promise<ChangedBar[]> {
  if (rows.length === 0) return [];
  const when = (incoming: string): string =>
    `(${DIFFERS('b', incoming)} OR (${incoming}.is_final AND NOT b.is_final))${REPLACED_WHEN[rule].replace('NEW', incoming)}`;
  const history =
    table === 'bars_replay'
      ? ''
      : `, kept AS (
       INSERT INTO bars_history (${HISTORY_COLUMNS})
       SELECT ${HISTORY_COLUMNS.split(', ')
         .map((name) => `b.${name}`)
         .join(', ')} FROM bars_ohlcv b JOIN incoming i ON ${SAME_KEY(table)}
        WHERE b.is_final AND ${when('i')}
       ON CONFLICT DO NOTHING)`;
  const { rows: changed } = await client.query<Selected & { revision: number }>(
    `WITH ${INCOMING}${history}, written AS (
       INSERT INTO ${table} AS b (${COLUMNS[table]}) ${SELECT_INCOMING(table)}
       ON CONFLICT (${KEYS[table]}) DO UPDATE SET ${SET_VALUES}, is_final = b.is_final OR excluded.is_final,
           revision = b.revision + b.is_final::int, ${SET_TOUCHED}${SET_LAST_SEQ(table)}
         WHERE ${when('excluded')}
       RETURNING b.*)
     SELECT ${SELECTED('b', table)}, b.revision FROM written b`,
    [rowsJson(rows)],
  );
  return changed.map((row) => ({ row: rowOf(row), revision: row.revision }));
}

/** Which bars: all of one length whose windows begin in [startUs, endUs). */
export interface BarRange {
  runId: bigint;
  provider: string;
  symbol: string;
  intervalMs: number;
  startUs: number;
  endUs: number;
}

/** The bars of each range, in the order of their windows; [] where there are none. */
export async function readBars(
  client: Client,
  table: BarTable,
  ranges: readonly BarRange[],
): Promise<BarRow[][]> {
  const found: BarRow[][] = ranges.map(() => []);
  if (ranges.length === 0) return found;
  const run = table === 'bars_replay' ? 'AND b.replay_run_id = k.run' : '';
  const { rows } = await client.query<Selected & { ord: string }>(
    `SELECT k.ord, ${SELECTED('b', table)}
       FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[])
              WITH ORDINALITY AS k (run, provider, symbol, "interval", start_us, end_us, ord)
       JOIN ${table} b ON b.provider = k.provider AND b.symbol = k.symbol AND b."interval" = k."interval" ${run}
        AND b.ts >= ${time('k.start_us')} AND b.ts < ${time('k.end_us')}
      ORDER BY k.ord, b.ts`,
    [
      ranges.map(({ runId }) => runId.toString()),
      ranges.map(({ provider }) => provider),
      ranges.map(({ symbol }) => symbol),
      ranges.map(({ intervalMs }) => intervalName(intervalMs)),
      ranges.map(({ startUs }) => startUs),
      ranges.map(({ endUs }) => endUs),
    ],
  );
  for (const { ord, ...row } of rows) found[Number(ord) - 1]?.push(rowOf(row));
  return found;
}
