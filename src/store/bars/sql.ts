import { betweenTimes, microsOf, timeOf } from '../postgres/time-sql.ts';

/**
 * The statements that write, compare and read bars, for each of the two tables. `json` is SQL yielding rows as
 * rowsJson() writes them.
 */

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

/**
 * Rows of a JSON text (SQL yielding rowsJson output) with the names and types of the columns. JSON keeps every digit of
 * a double.
 */
const incoming = (json: string): string => `incoming AS MATERIALIZED (
  SELECT r.replay_run_id, r.provider, r.symbol, r."interval", ${timeOf('r.ts')} AS ts, r.open, r.high, r.low, r.close, r.volume,
         r.vwap, r.tick_count, ${timeOf('r.first_ts')} AS first_ts, ${timeOf('r.last_ts')} AS last_ts,
         r.volume_parts, r.pv_parts, r.is_final, r.last_seq
    FROM json_to_recordset(${json}::json) AS r (replay_run_id bigint, provider text, symbol text, "interval" text, ts bigint,
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
const SET_VALUES = VALUES.map((name) => `${name} = excluded.${name}`).join(', ');
const SET_TOUCHED = 'updated_at = now(), tx = pg_current_xact_id()';
const SET_LAST_SEQ = (table: BarTable): string =>
  table === 'bars_replay' ? ', last_seq = excluded.last_seq' : '';

const SELECTED = (of: string, table: BarTable): string =>
  `${table === 'bars_replay' ? `${of}.replay_run_id` : '0'} AS run, ${of}.provider, ${of}.symbol, ${of}."interval", ${microsOf(`${of}.ts`)} AS ts,
   ${of}.open, ${of}.high, ${of}.low, ${of}.close, ${of}.volume, ${of}.vwap, ${of}.tick_count,
   ${microsOf(`${of}.first_ts`)} AS first_ts, ${microsOf(`${of}.last_ts`)} AS last_ts, ${of}.volume_parts, ${of}.pv_parts, ${of}.is_final,
   ${table === 'bars_replay' ? `${of}.last_seq` : '0'} AS last_seq`;

/** Adds missing ones; the others stay. One row: how many were added (n). */
export function insertStatement(table: BarTable, json: string): string {
  return `WITH ${incoming(json)}, written AS (
       INSERT INTO ${table} (${COLUMNS[table]}) ${SELECT_INCOMING(table)} ON CONFLICT DO NOTHING RETURNING 1)
     SELECT count(*) AS n FROM written`;
}

/**
 * Writes open rollups in place, and final ones; rows that are final or hold more ticks stay. One row: how many were
 * written (n).
 */
export function rollupStatement(table: BarTable, json: string): string {
  return `WITH ${incoming(json)}, written AS (
       INSERT INTO ${table} AS b (${COLUMNS[table]}) ${SELECT_INCOMING(table)}
       ON CONFLICT (${KEYS[table]}) DO UPDATE SET ${SET_VALUES}, is_final = excluded.is_final, ${SET_TOUCHED}${SET_LAST_SEQ(table)}
         WHERE NOT b.is_final AND excluded.tick_count >= b.tick_count
           AND (excluded.is_final OR ${DIFFERS('b', 'excluded')})
       RETURNING 1)
     SELECT count(*) AS n FROM written`;
}

/** From the first to the last start of the windows concerned, µs since 1970. */
export interface StartSpan {
  fromUs: number;
  toUs: number;
}

/**
 * The stored bars of rows (i): one lookup for each (OFFSET 0 keeps it apart), between constant times. A join may read all of the
 * table, and of a compressed one it does.
 */
const STORED = (table: BarTable, span: StartSpan): string =>
  `CROSS JOIN LATERAL (SELECT * FROM ${table} b WHERE ${SAME_KEY(table)} AND ${startsWithin(span)} OFFSET 0) b`;

function startsWithin({ fromUs, toUs }: StartSpan): string {
  return betweenTimes('b.ts', BigInt(fromUs), BigInt(toUs));
}

/** Final rows that the table has with other values, or not as final. */
export function differingStatement(table: BarTable, json: string, span: StartSpan): string {
  return `WITH ${incoming(json)} SELECT ${SELECTED('i', 'bars_replay')} FROM incoming i ${STORED(table, span)}
      WHERE i.is_final AND (${DIFFERS('i', 'b')} OR NOT b.is_final)`;
}

/** Which rows may be overwritten: any that differ, those with at most as many ticks, those with fewer. */
export type ReplaceRule = 'differs' | 'not_poorer' | 'richer';

const REPLACED_WHEN: Readonly<Record<ReplaceRule, string>> = {
  differs: '',
  not_poorer: ' AND NEW.tick_count >= b.tick_count',
  richer: ' AND NEW.tick_count > b.tick_count',
};

/** Adds rows, and overwrites those that differ if the rule allows it; final ones go to bars_history first. Returns the changed rows,
 * and how many ticks each gained (added). */
export function replaceStatement(table: BarTable, json: string, rule: ReplaceRule, span: StartSpan): string {
  const when = (row: string): string =>
    `(${DIFFERS('b', row)} OR (${row}.is_final AND NOT b.is_final))${REPLACED_WHEN[rule].replace('NEW', row)}`;
  const replaced = HISTORY_COLUMNS.split(', ')
    .map((name) => `b.${name}`)
    .join(', ');
  const history =
    table === 'bars_replay'
      ? ''
      : `, kept AS (
       INSERT INTO bars_history (${HISTORY_COLUMNS}, written_tx)
       SELECT ${replaced}, b.tx FROM incoming i ${STORED(table, span)} WHERE b.is_final AND ${when('i')}
       ON CONFLICT DO NOTHING)`;
  return `WITH ${incoming(json)}${history}, before AS (
       SELECT i.*, b.tick_count AS ticks FROM incoming i ${STORED(table, span)}), written AS (
       INSERT INTO ${table} AS b (${COLUMNS[table]}) ${SELECT_INCOMING(table)}
       ON CONFLICT (${KEYS[table]}) DO UPDATE SET ${SET_VALUES}, is_final = b.is_final OR excluded.is_final,
           revision = b.revision + b.is_final::int, ${SET_TOUCHED}${SET_LAST_SEQ(table)}
         WHERE ${when('excluded')}
       RETURNING b.*)
     SELECT ${SELECTED('b', table)}, b.revision, b.tick_count - coalesce(i.ticks, 0) AS added
       FROM written b LEFT JOIN before i ON ${SAME_KEY(table)}`;
}

/** The bars of ranges given as arrays: runs, providers, symbols, intervals, starts and ends in µs ($1 … $6). */
export function readStatement(table: BarTable, span: StartSpan): string {
  const run = table === 'bars_replay' ? 'AND b.replay_run_id = k.run' : '';
  return `SELECT k.ord, ${SELECTED('b', table)}
       FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[])
              WITH ORDINALITY AS k (run, provider, symbol, "interval", start_us, end_us, ord)
       CROSS JOIN LATERAL (
         SELECT * FROM ${table} b
          WHERE b.provider = k.provider AND b.symbol = k.symbol AND b."interval" = k."interval" ${run}
            AND b.ts >= ${timeOf('k.start_us')} AND b.ts < ${timeOf('k.end_us')} AND ${startsWithin(span)} OFFSET 0) b
      ORDER BY k.ord, b.ts`;
}
