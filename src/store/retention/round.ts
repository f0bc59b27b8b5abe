import { escapeIdentifier, type Client } from 'pg';
import type { Micros } from '../../core/time.ts';
import { isPooled } from '../postgres/pooler.ts';
import { detectEdition } from '../postgres/server-info.ts';
import { microsOf, timeOf } from '../postgres/time-sql.ts';
import { inTransaction } from '../postgres/transaction.ts';

/** What a round removed from a table; rows of dropped chunks are not counted. */
export interface Dropped {
  table: string;
  chunks: number;
  rows: number;
}

/** Something older than its age is kept, because somebody is not past it yet. */
export interface HeldBack {
  what: string;
  by: string;
}

export interface Round {
  dropped: Dropped[];
  heldBack: HeldBack[];
}

/** Which tables are hypertables, and the schema of TimescaleDB's functions. */
export interface Hypertables {
  functions: string;
  tables: ReadonlySet<string>;
}

/** A session waiting for a lock on a chunk makes others queue behind it, batches of the chain among them. */
export const LOCK_WAIT = '500ms';
/** Rows per deleting transaction on a plain table; some 50 ms. */
export const ROWS_PER_DELETE = 10_000;

/** Why the chain is left as it is from here on. */
export function openGapAt(complete: bigint): string {
  return `tick ${complete + 1n} is an open gap (tick-ingester status)`;
}

/** Whether the schema has the tables that retention writes to. */
export async function knowsRetention(client: Client): Promise<boolean> {
  return exists(client, 'retention_floors');
}

export async function exists(client: Client, table: string): Promise<boolean> {
  const { rows } = await client.query<{ found: boolean }>('SELECT to_regclass($1) IS NOT NULL AS found', [
    table,
  ]);
  return rows[0].found;
}

/**
 * One daemon at a time; the lock ends with the session. Behind a pooler it would stay with the pooler's connection: two
 * daemons may then do the same work at once.
 */
export function tryRetentionLock(client: Client): Promise<boolean> {
  return tryUpkeepLock(client, 'retention_floors');
}

/** The same for other upkeep: the lock is of a table. */
export async function tryUpkeepLock(client: Client, table: string): Promise<boolean> {
  if (isPooled(client)) return true;
  const { rows } = await client.query<{ held: boolean }>(
    'SELECT pg_try_advisory_lock($1::regclass::oid::bigint::bit(32)::int, 1) AS held',
    [table],
  );
  return rows[0].held;
}

/** The earlier of our clock and the database's: a clock that is ahead must not cost data. */
export async function earlierNow(client: Client, nowMicros: Micros): Promise<Micros> {
  const { rows } = await client.query<{ now: string }>(
    `SELECT least($1::bigint, ${microsOf('clock_timestamp()')}) AS now`,
    [nowMicros.toString()],
  );
  return BigInt(rows[0].now);
}

export async function readHypertables(client: Client): Promise<Hypertables> {
  const { timescale, usable } = await detectEdition(client);
  if (timescale === null || !usable) return { functions: '', tables: new Set() };
  const { rows } = await client.query<{ functions: string; tables: string[] }>(
    `SELECT n.nspname AS functions, array(
         SELECT h.hypertable_name::text FROM timescaledb_information.hypertables h
          WHERE to_regclass(quote_ident(h.hypertable_name)) =
                to_regclass(format('%I.%I', h.hypertable_schema, h.hypertable_name))) AS tables
       FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'timescaledb'`,
  );
  return { functions: rows[0].functions, tables: new Set(rows[0].tables) };
}

/** The end of every chunk that ends at or before a bound, oldest first; a time in µs, or a number. */
export async function endsOfChunks(
  client: Client,
  table: string,
  bound: { micros: Micros } | { number: bigint },
): Promise<bigint[]> {
  const byTime = 'micros' in bound;
  const end = byTime ? microsOf('range_end') : 'range_end_integer';
  const { rows } = await client.query<{ chunk_end: string }>(
    `SELECT ${end} AS chunk_end FROM timescaledb_information.chunks
      WHERE hypertable_name = $1 AND ${end} <= $2
        AND to_regclass(quote_ident(hypertable_name)) = to_regclass(format('%I.%I', hypertable_schema, hypertable_name))
      ORDER BY 1`,
    [table, (byTime ? bound.micros : bound.number).toString()],
  );
  return rows.map((row) => BigInt(row.chunk_end));
}

/** Chunk by chunk, one transaction each: finished ones stay dropped when a reader blocks the next. Both editions support it. */
export async function dropChunks(
  client: Client,
  { functions }: Hypertables,
  table: string,
  bound: { micros: Micros } | { number: bigint },
): Promise<number> {
  const ends = [...new Set(await endsOfChunks(client, table, bound))];
  const olderThan = 'micros' in bound ? timeOf('$2') : '$2::bigint';
  let chunks = 0;
  for (const end of ends) {
    chunks += await inTransaction(client, async () => {
      await client.query(`SET LOCAL lock_timeout = '${LOCK_WAIT}'`);
      const { rowCount } = await client.query(
        `SELECT ${escapeIdentifier(functions)}.drop_chunks(quote_ident($1)::regclass, older_than => ${olderThan})`,
        [table, end.toString()],
      );
      return rowCount ?? 0;
    });
  }
  return chunks;
}

/** The floor is recorded before the first row below it is deleted. */
export async function raiseFloor(
  client: Client,
  name: string,
  floor: { tick: bigint } | { micros: Micros },
): Promise<void> {
  const byTick = 'tick' in floor;
  await client.query(
    `INSERT INTO retention_floors AS f (name, tick_number, ts) VALUES ($1, $2, ${timeOf('$3')})
     ON CONFLICT (name) DO UPDATE
       SET tick_number = greatest(f.tick_number, excluded.tick_number), ts = greatest(f.ts, excluded.ts), updated_at = now()`,
    [name, byTick ? floor.tick.toString() : null, byTick ? null : floor.micros.toString()],
  );
}

/** An audit row in job_runs, if the table exists: what was done, by table. */
export async function recordUpkeepRun(
  client: Client,
  jobName: 'retention' | 'compression',
  metadata: Readonly<Record<string, unknown>>,
  { startedMicros, error }: { startedMicros: Micros; error: string | null },
): Promise<void> {
  if (!(await exists(client, 'job_runs'))) return;
  await client.query(
    `INSERT INTO job_runs (job_name, status, started_at, completed_at, error_message, metadata)
     VALUES ($1, $2, ${timeOf('$3')}, clock_timestamp(), $4, $5)`,
    [
      jobName,
      error === null ? 'success' : 'failed',
      startedMicros.toString(),
      error,
      JSON.stringify(metadata),
    ],
  );
}
