import { escapeIdentifier, type Client } from 'pg';
import { BARS_SPARE_MS, dayOf } from '../../core/retention.ts';
import type { Micros } from '../../core/time.ts';
import { detectEdition } from '../postgres/server-info.ts';
import { microsOf, timeOf } from '../postgres/time-sql.ts';
import { inTransaction } from '../postgres/transaction.ts';
import { barsReached } from './market.ts';
import { exists, LOCK_WAIT, openGapAt, type HeldBack, type Hypertables } from './round.ts';

/** What a round compressed of a table. */
export interface Compressed {
  table: string;
  chunks: number;
  /** with indexes */
  bytesBefore: number;
  bytesAfter: number;
}

export interface CompressionRound {
  done: Compressed[];
  heldBack: HeldBack[];
}

/** Chunks that end at or before it, in µs since 1970 or tick numbers. */
type Bound = { micros: Micros } | { number: bigint };

interface Layout {
  table: string;
  segmentBy: string | null;
  orderBy: string;
}

/**
 * By number, as ticks are looked up: a batch of 1,000 rows has the lowest and the highest of each of these columns beside it.
 * Nothing of a tick repeats often enough for a segment (public_key was tried: 0.5 % larger).
 */
const CHAIN: readonly Layout[] = [
  { table: 'ticks', segmentBy: null, orderBy: 'tick_number, "timestamp"' },
  {
    table: 'tick_transactions',
    segmentBy: null,
    orderBy: 'tick_number, sequence_number, tick_timestamp',
  },
  { table: 'vdf_proofs', segmentBy: null, orderBy: 'tick_number' },
];
const OF_SERIES = 'provider, symbol, "interval"';
const BARS: readonly Layout[] = [
  { table: 'bars_ohlcv', segmentBy: OF_SERIES, orderBy: 'ts' },
  { table: 'bars_history', segmentBy: OF_SERIES, orderBy: 'ts, revision' },
];

const DAY_MICROS = 86_400_000_000n;
/** of _timescaledb_catalog.chunk: rows came after it was compressed, and lie beside the compressed ones */
const STATUS_PARTIAL = 8;

/** Whether this server compresses chunks. */
export async function canCompress(client: Client): Promise<boolean> {
  return (await detectEdition(client)).edition === 'community';
}

/**
 * Compresses chunks of the chain older than an age, in whole days: not the newest day, and nothing from an open gap on,
 * since what fills it would have to be written into compressed chunks.
 */
export async function compressChain(
  client: Client,
  known: Hypertables,
  { ageMs, nowMicros }: { ageMs: number; nowMicros: Micros },
): Promise<CompressionRound> {
  const newest = await oneBigint(client, `SELECT ${microsOf('max("timestamp")')} AS n FROM ticks`, []);
  const { complete, position } = await readPosition(client);
  if (newest === null || complete === null || position === null) return { done: [], heldBack: [] };
  let before = earlier(dayOf(nowMicros - micros(ageMs)), dayOf(newest - DAY_MICROS));
  const heldBack: HeldBack[] = [];
  if (complete < position) {
    const reached = await oneBigint(
      client,
      `SELECT ${microsOf('"timestamp"')} AS n FROM ticks WHERE tick_number <= $1 ORDER BY tick_number DESC LIMIT 1`,
      [complete.toString()],
    );
    const gapDay = reached === null ? 0n : dayOf(reached);
    if (gapDay < before) {
      heldBack.push({ what: 'chain', by: openGapAt(complete) });
      before = gapDay;
    }
  }
  const kept = await oneBigint(
    client,
    `SELECT tick_number AS n FROM ticks WHERE "timestamp" >= ${timeOf('$1')} ORDER BY "timestamp", tick_number LIMIT 1`,
    [before.toString()],
  );
  const below = kept === null || kept > complete ? complete : kept;
  return {
    done: await compressTables(client, known, CHAIN, (table) =>
      table === 'vdf_proofs' ? { number: below } : { micros: before },
    ),
    heldBack,
  };
}

/** Compresses bars and their replaced versions older than an age, by the start of their window; nothing that a late event may correct. */
export async function compressBars(
  client: Client,
  known: Hypertables,
  { ageMs, nowMicros, reviseHorizonMs }: { ageMs: number; nowMicros: Micros; reviseHorizonMs: number },
): Promise<CompressionRound> {
  const byAge = dayOf(nowMicros - micros(ageMs));
  const needed = await barsReached(client, reviseHorizonMs + BARS_SPARE_MS);
  const before = needed === null ? byAge : earlier(byAge, needed);
  return { done: await compressTables(client, known, BARS, () => ({ micros: before })), heldBack: [] };
}

async function compressTables(
  client: Client,
  known: Hypertables,
  layouts: readonly Layout[],
  boundOf: (table: string) => Bound,
): Promise<Compressed[]> {
  const done: Compressed[] = [];
  for (const layout of layouts) {
    const { table } = layout;
    if (!known.tables.has(table) || !(await exists(client, table))) continue;
    const chunks = await chunksDue(client, table, boundOf(table));
    if (chunks.length === 0) continue;
    await enable(client, layout);
    for (const chunk of chunks) await compressChunk(client, known, chunk);
    done.push({ table, chunks: chunks.length, ...(await bytesOf(client, known, table, chunks)) });
  }
  return done;
}

/** Those that are not compressed, or not entirely, oldest first. */
async function chunksDue(client: Client, table: string, bound: Bound): Promise<string[]> {
  const byTime = 'micros' in bound;
  const end = byTime ? microsOf('k.range_end') : 'k.range_end_integer';
  const { rows } = await client.query<{ chunk: string }>(
    `SELECT format('%I.%I', k.chunk_schema, k.chunk_name) AS chunk FROM timescaledb_information.chunks k
       JOIN _timescaledb_catalog.chunk c ON c.schema_name = k.chunk_schema AND c.table_name = k.chunk_name
      WHERE k.hypertable_name = $1 AND ${end} <= $2 AND (NOT k.is_compressed OR c.status & ${STATUS_PARTIAL} <> 0)
        AND to_regclass(quote_ident(k.hypertable_name)) = to_regclass(format('%I.%I', k.hypertable_schema, k.hypertable_name))
      ORDER BY ${end}`,
    [table, (byTime ? bound.micros : bound.number).toString()],
  );
  return rows.map(({ chunk }) => chunk);
}

/** Once: an operator's own settings stay. */
async function enable(client: Client, { table, segmentBy, orderBy }: Layout): Promise<void> {
  const { rows } = await client.query<{ on: boolean }>(
    `SELECT compression_enabled AS on FROM timescaledb_information.hypertables
      WHERE to_regclass(format('%I.%I', hypertable_schema, hypertable_name)) = to_regclass($1)`,
    [table],
  );
  if (rows.length === 0 || rows[0].on) return;
  const segment = segmentBy === null ? '' : `, timescaledb.compress_segmentby = '${segmentBy}'`;
  await inTransaction(client, async () => {
    await client.query(`SET LOCAL lock_timeout = '${LOCK_WAIT}'`);
    await client.query(
      `ALTER TABLE ${escapeIdentifier(table)} SET (timescaledb.compress${segment}, timescaledb.compress_orderby = '${orderBy}')`,
    );
  });
}

/**
 * One chunk, in its own transaction, however long it takes. At its end it waits for no reader: what cannot be truncated is
 * deleted. lz4 took a quarter of the time of pglz, and 6 % less room.
 */
async function compressChunk(client: Client, { functions }: Hypertables, chunk: string): Promise<void> {
  await inTransaction(client, async () => {
    await client.query(
      `SET LOCAL lock_timeout = '${LOCK_WAIT}'; SET LOCAL statement_timeout = 0;
       SELECT set_config('timescaledb.compress_truncate_behaviour', 'truncate_or_delete', true)
        WHERE current_setting('timescaledb.compress_truncate_behaviour', true) IS NOT NULL;
       SELECT set_config(name, 'lz4', true) FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)`,
    );
    await client.query(`SELECT ${escapeIdentifier(functions)}.compress_chunk($1::regclass)`, [chunk]);
  });
}

async function bytesOf(
  client: Client,
  { functions }: Hypertables,
  table: string,
  chunks: readonly string[],
): Promise<Pick<Compressed, 'bytesBefore' | 'bytesAfter'>> {
  const { rows } = await client.query<{ before: string | null; after: string | null }>(
    `SELECT sum(before_compression_total_bytes) AS before, sum(after_compression_total_bytes) AS after
       FROM ${escapeIdentifier(functions)}.chunk_compression_stats(quote_ident($1)::regclass)
      WHERE format('%I.%I', chunk_schema, chunk_name) = ANY ($2)`,
    [table, chunks],
  );
  return { bytesBefore: Number(rows[0].before ?? 0), bytesAfter: Number(rows[0].after ?? 0) };
}

async function readPosition(client: Client): Promise<{ complete: bigint | null; position: bigint | null }> {
  const { rows } = await client.query<{ position: string | null; complete_up_to: string | null }>(
    'SELECT "position", complete_up_to FROM ingest_position()',
  );
  const { position, complete_up_to: complete } = rows[0];
  return {
    complete: complete === null ? null : BigInt(complete),
    position: position === null ? null : BigInt(position),
  };
}

async function oneBigint(client: Client, sql: string, values: string[]): Promise<bigint | null> {
  const { rows } = await client.query<{ n: string | null }>(sql, values);
  return rows[0]?.n == null ? null : BigInt(rows[0].n);
}

function earlier(a: Micros, b: Micros): Micros {
  return a < b ? a : b;
}

function micros(ms: number): Micros {
  return BigInt(Math.round(ms * 1000));
}
