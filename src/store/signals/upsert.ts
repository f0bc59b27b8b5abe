import type { Client } from 'pg';
import { providerName } from '../../core/market/codec/field.ts';
import { symbolProblem, upperCased } from '../../core/market/identity/symbol.ts';
import { formatMicros, parseIsoMicros } from '../../core/time.ts';
import { isoTime, timeOf } from '../postgres/time-sql.ts';

/** A signal as programs pass it in. */
export interface UpsertSignal {
  provider: string;
  symbol: string;
  /** event time: ISO-8601 (UTC if no zone is given), or µs since 1970. Never a Date: it has no microseconds. */
  ts: string | bigint;
  /** 1 to 64 bytes without `|` */
  name: string;
  /** finite */
  value: number;
  /** finite; default null */
  score?: number | null;
  /** anything that JSON holds */
  metadata?: Readonly<Record<string, unknown>> | null;
  /** 0 (default): live */
  replayRunId?: bigint | number;
}

/** A signal as it is stored. */
export interface StoredSignal {
  provider: string;
  symbol: string;
  /** ISO-8601 in UTC, six decimals */
  ts: string;
  name: string;
  value: number;
  score: number | null;
  metadata: Record<string, unknown> | null;
  replayRunId: number;
}

/** Which signals; what is left out does not matter. */
export interface SignalQuery {
  provider?: string;
  symbol?: string;
  name?: string;
  /** [from, to), as `ts` above */
  from?: string | bigint;
  to?: string | bigint;
  /** 0: live; default: all */
  replayRunId?: bigint | number;
  /** at most so many, the newest first (default 1,000) */
  limit?: number;
}

const NAME = /^[!-{}~]{1,64}$/;
const ROWS_MAX = 5_000;
const LIMIT_MAX = 100_000;

/**
 * Inserts new signals, and replaces what differs, in one transaction. Returns how many rows that changed.
 * @throws RangeError for a value that no column can hold; nothing is written then
 */
export async function upsertSignals(client: Client, signals: readonly UpsertSignal[]): Promise<number> {
  // of equal keys the last one: two rows of one key would be two changes in one statement
  const rows = [...new Map(signals.map((signal) => rowOf(signal)).map((row) => [keyOf(row), row])).values()];
  if (rows.length === 0) return 0;
  let changed = 0;
  await client.query('BEGIN');
  for (let from = 0; from < rows.length; from += ROWS_MAX)
    changed += await upsertSome(client, rows.slice(from, from + ROWS_MAX));
  await client.query('COMMIT');
  return changed;
}

async function upsertSome(client: Client, rows: readonly Row[]): Promise<number> {
  const { rowCount } = await client.query(
    `INSERT INTO signals AS d (provider, symbol, ts, name, value, score, metadata, replay_run_id)
     SELECT k.provider, k.symbol, ${timeOf('k.us')}, k.name, k.value, k.score, k.metadata::jsonb, k.run
       FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::float8[], $6::float8[], $7::text[], $8::bigint[])
         AS k (provider, symbol, us, name, value, score, metadata, run)
      ORDER BY 1, 2, 3, 4, 8
     ON CONFLICT (provider, symbol, ts, name, replay_run_id) DO UPDATE
       SET value = excluded.value, score = excluded.score, metadata = excluded.metadata, tx = pg_current_xact_id()
       WHERE (d.value, d.score, d.metadata) IS DISTINCT FROM (excluded.value, excluded.score, excluded.metadata)`,
    [
      rows.map(({ provider }) => provider),
      rows.map(({ symbol }) => symbol),
      rows.map(({ us }) => us.toString()),
      rows.map(({ name }) => name),
      rows.map(({ value }) => value),
      rows.map(({ score }) => score),
      rows.map(({ metadata }) => metadata),
      rows.map(({ run }) => run.toString()),
    ],
  );
  return rowCount ?? 0;
}

/** The newest first. */
export async function querySignals(client: Client, query: SignalQuery): Promise<StoredSignal[]> {
  const { provider, symbol, name, from, to, replayRunId, limit = 1_000 } = query;
  if (!Number.isInteger(limit) || limit < 1 || limit > LIMIT_MAX)
    throw new RangeError(`limit ${limit}: it must be 1 to ${LIMIT_MAX}`);
  const values: unknown[] = [];
  const conditions: string[] = [];
  const where = (sql: (value: string) => string, value: unknown): void => {
    if (value === undefined) return;
    values.push(value);
    conditions.push(sql(`$${values.length}`));
  };
  where((value) => `provider = ${value}`, provider);
  where((value) => `symbol = ${value}`, symbol === undefined ? undefined : upperCased(symbol));
  where((value) => `name = ${value}`, name);
  where((value) => `ts >= ${timeOf(value)}`, from === undefined ? undefined : microsOfTime(from).toString());
  where((value) => `ts < ${timeOf(value)}`, to === undefined ? undefined : microsOfTime(to).toString());
  where((value) => `replay_run_id = ${value}::bigint`, replayRunId?.toString());
  values.push(limit);
  const { rows } = await client.query<StoredSignal>(
    `SELECT provider, symbol, ${isoTime('ts')} AS ts, name, value, score, metadata, replay_run_id::float8 AS "replayRunId"
       FROM signals d ${conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`}
      ORDER BY d.ts DESC, provider, symbol, name LIMIT $${values.length}`,
    values,
  );
  return rows;
}

interface Row {
  provider: string;
  symbol: string;
  us: bigint;
  name: string;
  value: number;
  score: number | null;
  metadata: string | null;
  run: bigint;
}

function rowOf({
  ts,
  name,
  value,
  score = null,
  metadata = null,
  replayRunId = 0n,
  ...signal
}: UpsertSignal): Row {
  const provider = providerName(signal.provider);
  if (typeof provider !== 'string') throw new RangeError(provider.detail);
  const problem = symbolProblem(signal.symbol);
  if (problem !== null) throw new RangeError(`symbol ${JSON.stringify(signal.symbol)} ${problem}`);
  if (!NAME.test(name))
    throw new RangeError(`name ${JSON.stringify(name)} is not 1 to 64 characters of 0x21-0x7E without |`);
  for (const number of [value, score])
    if (number !== null && !Number.isFinite(number)) throw new RangeError(`not a finite number: ${number}`);
  const run = BigInt(replayRunId);
  if (run < 0n) throw new RangeError(`replayRunId ${run} is below 0`);
  return {
    provider,
    symbol: upperCased(signal.symbol),
    us: microsOfTime(ts),
    name,
    value,
    score,
    metadata: metadata === null ? null : JSON.stringify(metadata),
    run,
  };
}

function microsOfTime(ts: string | bigint): bigint {
  return typeof ts === 'bigint' ? ts : parseIsoMicros(ts);
}

function keyOf({ provider, symbol, us, name, run }: Row): string {
  return `${provider}|${symbol}|${formatMicros(us)}|${name}|${run}`;
}
