import type { Client } from 'pg';
import {
  BARS_SPARE_MS,
  dayOf,
  nextDay,
  TICK_DATA_SPARE_MS,
  type RetentionAges,
} from '../../core/retention.ts';
import type { Micros } from '../../core/time.ts';
import {
  dropChunks,
  endsOfChunks,
  exists,
  raiseFloor,
  ROWS_PER_DELETE,
  type Hypertables,
  type Round,
} from './round.ts';
import { microsOf, timeOf } from '../postgres/time-sql.ts';

/** A table that is cut at a time; its key starts with these columns, then ts. */
interface TimedTable {
  table: string;
  series: readonly string[];
}

const TICK_DATA: TimedTable = { table: 'tick_data', series: ['provider', 'symbol'] };
/** what is known of its ticks goes with them */
const OF_TICK_DATA: readonly TimedTable[] = [
  TICK_DATA,
  { table: 'features_late', series: ['provider', 'symbol'] },
  { table: 'feature_keys', series: ['topic', 'group_name', 'provider', 'symbol', 'life'] },
  { table: 'feature_digests', series: ['topic', 'group_name', 'replay_run_id', 'provider', 'symbol'] },
];
const SIGNALS: TimedTable = { table: 'signals', series: ['provider', 'symbol'] };
const BARS: readonly TimedTable[] = ['bars_ohlcv', 'bars_history'].map((table) => ({
  table,
  series: ['provider', 'symbol', '"interval"'],
}));
const REPLAY: TimedTable = {
  table: 'bars_replay',
  series: ['replay_run_id', 'provider', 'symbol', '"interval"'],
};

export interface MarketRule {
  ages: RetentionAges;
  reviseHorizonMs: number;
  nowMicros: Micros;
}

type Series = string[];

/** tick_data older than its retention age, whole days; never what a late event of a live symbol may still need. */
export async function dropTickData(client: Client, known: Hypertables, rule: MarketRule): Promise<Round> {
  const { tickDataMs } = rule.ages;
  if (tickDataMs === null) return { dropped: [], heldBack: [] };
  return dropTimed(client, known, OF_TICK_DATA, {
    rule,
    ageMs: tickDataMs,
    neededMs: rule.reviseHorizonMs + TICK_DATA_SPARE_MS,
  });
}

/** Bars and their replaced versions by window time; bars of a replay by the time since its run ended. */
export async function dropBars(client: Client, known: Hypertables, rule: MarketRule): Promise<Round> {
  const { barsMs } = rule.ages;
  if (barsMs === null) return { dropped: [], heldBack: [] };
  const round = await dropTimed(client, known, BARS, {
    rule,
    ageMs: barsMs,
    neededMs: rule.reviseHorizonMs + BARS_SPARE_MS,
  });
  const rows = await dropReplays(client, rule.nowMicros - micros(barsMs));
  if (rows > 0) round.dropped.push({ table: REPLAY.table, chunks: 0, rows });
  return round;
}

/** Signals by their time; nothing is computed from them. */
export async function dropSignals(client: Client, known: Hypertables, rule: MarketRule): Promise<Round> {
  const { signalsMs } = rule.ages;
  const round: Round = { dropped: [], heldBack: [] };
  if (signalsMs === null || !(await exists(client, SIGNALS.table))) return round;
  const dropped = await dropBefore(client, known, SIGNALS, dayOf(rule.nowMicros - micros(signalsMs)));
  return { ...round, dropped };
}

/** Nothing where no whole chunk, or no row of a plain table, ends before. */
export async function dropBefore(
  client: Client,
  known: Hypertables,
  timed: TimedTable,
  cut: Micros,
): Promise<Round['dropped']> {
  const { table } = timed;
  if (!(await isDue(client, known, timed, cut))) return [];
  await raiseFloor(client, table, { micros: cut });
  if (known.tables.has(table))
    return [{ table, chunks: await dropChunks(client, known, table, { micros: cut }), rows: 0 }];
  return [{ table, chunks: 0, rows: await deleteDays(client, timed, cut) }];
}

async function dropTimed(
  client: Client,
  known: Hypertables,
  tables: readonly TimedTable[],
  { rule, ageMs, neededMs }: { rule: MarketRule; ageMs: number; neededMs: number },
): Promise<Round> {
  const round: Round = { dropped: [], heldBack: [] };
  const byAge = dayOf(rule.nowMicros - micros(ageMs));
  const byPosition = (await barsReached(client, neededMs)) ?? byAge;
  const cut = byPosition < byAge ? byPosition : byAge;
  for (const timed of tables) {
    const { table } = timed;
    if (!(await exists(client, table))) continue;
    if (cut < byAge && (await isDue(client, known, timed, byAge)))
      round.heldBack.push({
        what: table,
        by: 'the bars are not that far: mdp-consumers lags or stands still',
      });
    round.dropped.push(...(await dropBefore(client, known, timed, cut)));
  }
  return round;
}

/** The day that ends what bars need no more: so much below their slowest partition, and below every late window; null: no bars are built. */
export async function barsReached(client: Client, neededMs: number): Promise<Micros | null> {
  const position = await slowestBars(client);
  return position === null ? null : dayOf(earlier(position.reached - micros(neededMs), position.late));
}

interface BarsPosition {
  /** event time that all partitions of live bars have reached */
  reached: Micros;
  /** the oldest window waiting to be corrected; null: none */
  late: Micros | null;
}

/**
 * Null where no bars are built. A partition has got as far as its furthest symbol: one that is no longer traded holds
 * nothing back, and late events for it reduce no bar.
 */
async function slowestBars(client: Client): Promise<BarsPosition | null> {
  if (!(await exists(client, 'bars_watermarks'))) return null;
  const { rows } = await client.query<{ slowest: string | null; late: string | null }>(
    `SELECT (SELECT ${microsOf('min(reached)')} FROM (
         SELECT max(max_ts) AS reached FROM bars_watermarks
          WHERE replay_run_id = 0 GROUP BY topic, group_name, partition) p) AS slowest,
       (SELECT ${microsOf('min(ts)')} FROM bars_late_windows) AS late`,
  );
  const { slowest, late } = rows[0];
  return slowest === null ? null : { reached: BigInt(slowest), late: late === null ? null : BigInt(late) };
}

function earlier(a: Micros, b: Micros | null): Micros {
  return b !== null && b < a ? b : a;
}

/** Whether anything ends before `cut`: a whole chunk, or a row of a plain table. */
async function isDue(client: Client, known: Hypertables, timed: TimedTable, cut: Micros): Promise<boolean> {
  const before = known.tables.has(timed.table)
    ? await endsOfChunks(client, timed.table, { micros: cut })
    : await seriesBefore(client, timed, cut);
  return before.length > 0;
}

/** Oldest day first, so that an interruption leaves the rest with a single edge. */
async function deleteDays(client: Client, timed: TimedTable, cut: Micros): Promise<number> {
  let rows = 0;
  for (;;) {
    const series = await seriesBefore(client, timed, cut);
    if (series.length === 0) return rows;
    const oldest = series.map(({ first }) => first).reduce((a, b) => (a < b ? a : b));
    const dayEnd = nextDay(oldest) < cut ? nextDay(oldest) : cut;
    for (const { key, first } of series) {
      if (first < dayEnd) rows += await deleteSeries(client, timed, key, dayEnd);
    }
  }
}

/**
 * The series with rows before `cut`, each with its first time. No index starts with ts, so each series is one step
 * along the key instead of a table scan.
 */
async function seriesBefore(
  client: Client,
  { table, series }: TimedTable,
  cut: Micros,
): Promise<{ key: Series; first: Micros }[]> {
  const columns = series.join(', ');
  const of = (alias: string): string => series.map((column) => `${alias}.${column}`).join(', ');
  const { rows } = await client.query<{ key: Series; first_us: string }>(
    `WITH RECURSIVE series AS (
       (SELECT ${columns} FROM ${table} ORDER BY ${columns} LIMIT 1)
       UNION ALL
       SELECT n.* FROM series s CROSS JOIN LATERAL (
         SELECT ${of('t')} FROM ${table} t WHERE (${of('t')}) > (${of('s')}) ORDER BY ${of('t')} LIMIT 1) n
     )
     SELECT ARRAY[${series.map((column) => `s.${column}::text`).join(', ')}] AS key, ${microsOf('f.ts')} AS first_us
       FROM series s CROSS JOIN LATERAL (
         SELECT t.ts FROM ${table} t WHERE (${of('t')}) = (${of('s')}) ORDER BY t.ts LIMIT 1) f
      WHERE f.ts < ${timeOf('$1')}`,
    [cut.toString()],
  );
  return rows.map(({ key, first_us: first }) => ({ key, first: BigInt(first) }));
}

/** The rows of a series before a time, some thousand per transaction. By key and not by ctid, which is not unique across chunks. */
async function deleteSeries(
  client: Client,
  { table, series }: TimedTable,
  key: Series,
  before: Micros | null,
): Promise<number> {
  const where = series.map((column, at) => `${column} = $${at + 1}`).join(' AND ');
  const end = `$${key.length + 1}`;
  const limit = before === null ? "'infinity'::timestamptz" : timeOf(end);
  const values = before === null ? key : [...key, before.toString()];
  const nth = `SELECT ts FROM ${table} WHERE ${where} AND ts < ${limit} ORDER BY ts OFFSET ${ROWS_PER_DELETE} LIMIT 1`;
  // more rows than that may have the same time: they are deleted together
  const first = `SELECT ts FROM ${table} WHERE ${where} AND ts < ${limit} ORDER BY ts LIMIT 1`;
  const steps = [`ts < coalesce((${nth}), ${limit})`, `ts = (${first})`];
  let rows = 0;
  for (let at = 0; at < steps.length;) {
    const { rowCount } = await client.query(`DELETE FROM ${table} WHERE ${where} AND ${steps[at]}`, values);
    rows += rowCount ?? 0;
    at = (rowCount ?? 0) > 0 ? 0 : at + 1;
  }
  return rows;
}

/** Replays cover old days by nature: the age of their bars is that of the run. */
async function dropReplays(client: Client, endedBefore: Micros): Promise<number> {
  if (!(await exists(client, REPLAY.table)) || !(await exists(client, 'job_runs'))) return 0;
  const runs = await client.query<{ run: string }>(
    `WITH RECURSIVE runs AS (
       SELECT min(replay_run_id) AS run FROM bars_replay
       UNION ALL
       SELECT (SELECT min(replay_run_id) FROM bars_replay WHERE replay_run_id > r.run) FROM runs r WHERE r.run IS NOT NULL
     )
     SELECT r.run FROM runs r JOIN job_runs j ON j.id = r.run WHERE j.completed_at < ${timeOf('$1')} ORDER BY 1`,
    [endedBefore.toString()],
  );
  let rows = 0;
  for (const { run } of runs.rows) {
    for (const key of await seriesOfRun(client, run)) rows += await deleteSeries(client, REPLAY, key, null);
  }
  return rows;
}

async function seriesOfRun(client: Client, run: string): Promise<Series[]> {
  const { rows } = await client.query<{ key: Series }>(
    `SELECT ARRAY[replay_run_id::text, provider, symbol, "interval"] AS key FROM bars_replay WHERE replay_run_id = $1
      GROUP BY replay_run_id, provider, symbol, "interval"`,
    [run],
  );
  return rows.map(({ key }) => key);
}

function micros(ms: number): Micros {
  return BigInt(Math.round(ms * 1000));
}
