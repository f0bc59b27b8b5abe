import type { Client } from 'pg';
import { dayOf } from '../../core/retention.ts';
import type { Micros } from '../../core/time.ts';
import {
  dropChunks,
  endsOfChunks,
  exists,
  openGapAt,
  raiseFloor,
  ROWS_PER_DELETE,
  type Hypertables,
  type Round,
} from './round.ts';
import { chainTimes } from '../chunks/times.ts';
import { microsOf, timeOf } from '../postgres/time-sql.ts';
import { inTransaction } from '../postgres/transaction.ts';

/** The cut through the chain. */
interface Cut {
  /** the lowest tick that is kept */
  floor: bigint;
  /** no tick from the floor on is older: time chunks that end here hold only ticks to be dropped */
  before: Micros;
  heldBack: string | null;
}

const DAY_MICROS = 86_400_000_000n;
/** Ticks whose rows are deleted in one transaction. */
const TICKS_PER_DELETE = BigInt(ROWS_PER_DELETE) / 4n;
/** ticks, vdf_proofs and tick_transactions share one floor, under this name */
const CHAIN = 'chain';
/** Forces the index on the number, whatever statistics say: old rows are a large share of the tables. */
const PLANNING =
  'SET LOCAL enable_seqscan = off; SET LOCAL jit = off; SET LOCAL max_parallel_workers_per_gather = 0';

/** Lowest tick that the store can answer for; null: nothing was ever dropped. */
export async function readChainFloor(client: Client): Promise<bigint | null> {
  // the table is created by schema/007: a store without retention lacks it
  if (!(await exists(client, 'retention_floors'))) return null;
  const { rows } = await client.query<{ tick_number: string }>(
    'SELECT tick_number FROM retention_floors WHERE name = $1',
    [CHAIN],
  );
  return rows[0] === undefined ? null : BigInt(rows[0].tick_number);
}

/**
 * Drops ticks older than their retention age, with their proofs and transactions: whole days, below everything that is
 * incomplete or not yet published. The proof of the last dropped tick stays: the next tick links to its output.
 */
export async function dropChain(
  client: Client,
  known: Hypertables,
  { ageMs, nowMicros }: { ageMs: number; nowMicros: Micros },
): Promise<Round> {
  const floor = await readChainFloor(client);
  const wanted = dayOf(nowMicros - BigInt(Math.round(ageMs * 1000)));
  const cut = await inTransaction(client, async () => {
    await client.query(PLANNING);
    return findCut(client, floor ?? 0n, wanted);
  });
  if (cut === null) return { dropped: [], heldBack: [] };
  const round: Round = { dropped: [], heldBack: [] };
  if (cut.heldBack !== null) round.heldBack.push({ what: CHAIN, by: cut.heldBack });
  if (!(await isDue(client, known, cut))) return round;
  await raiseFloor(client, CHAIN, { tick: cut.floor });
  for (const table of ['ticks', 'tick_transactions', 'vdf_proofs']) {
    const { chunks, rows } = await dropTable(client, known, table, cut);
    if (chunks + rows > 0) round.dropped.push({ table, chunks, rows });
  }
  return round;
}

interface Bounds {
  complete: bigint;
  published: bigint | null;
  newest: Micros;
}

/** Null: nothing stored can be dropped. */
async function findCut(client: Client, floor: bigint, wanted: Micros): Promise<Cut | null> {
  const bounds = await readBounds(client);
  if (bounds === null) return null;
  const { complete, published, newest } = bounds;
  // future ticks may be older than the newest one, but not by a day: a chain read from its beginning is all old, and
  // its next tick must not fall into a chunk that was just dropped
  const byHead = dayOf(newest - DAY_MICROS);
  const day = wanted < byHead ? wanted : byHead;
  const { rows } = await client.query<{ n: string | null }>(
    `SELECT tick_number AS n FROM ticks WHERE tick_number >= $1 AND "timestamp" >= ${timeOf('$2')}
      ORDER BY tick_number LIMIT 1`,
    [floor.toString(), day.toString()],
  );
  if (rows[0]?.n == null) return null;
  const byAge = BigInt(rows[0].n);
  let lowest = byAge;
  let heldBack: string | null = null;
  if (complete < lowest) {
    lowest = complete;
    heldBack = openGapAt(complete);
  }
  if (published !== null && published < lowest) {
    lowest = published;
    heldBack = `the orders of tick ${published} are not published yet: run the stage orders, or delete its row in stage_cursors when it is not wanted`;
  }
  if (lowest < floor) lowest = floor;
  return { floor: lowest, before: await oldestFrom(client, lowest, day), heldBack };
}

/** Null before the first tick. */
async function readBounds(client: Client): Promise<Bounds | null> {
  const position = await client.query<{ position: string | null; complete_up_to: string | null }>(
    'SELECT "position", complete_up_to FROM ingest_position()',
  );
  const { position: last, complete_up_to: complete } = position.rows[0];
  if (last === null || complete === null) return null;
  const times = await chainTimes(client, { first: BigInt(last), last: BigInt(last) });
  const newest = await client.query<{ micros: string }>(
    `SELECT ${microsOf('"timestamp"')} AS micros FROM ticks WHERE tick_number <= $1${times.and('ticks')}
      ORDER BY tick_number DESC LIMIT 1`,
    [last],
  );
  if (newest.rows[0] === undefined) return null;
  let published: bigint | null = null;
  if (await exists(client, 'stage_cursors')) {
    const cursor = await client.query<{ tick: string }>(
      `SELECT "position"->>'tick' AS tick FROM stage_cursors WHERE name = 'orders'`,
    );
    if (cursor.rows[0] !== undefined) published = BigInt(cursor.rows[0].tick);
  }
  return { complete: BigInt(complete), published, newest: BigInt(newest.rows[0].micros) };
}

/** The day, or the time of an older tick from the floor on: timestamps may go backwards with rising numbers. */
async function oldestFrom(client: Client, floor: bigint, day: Micros): Promise<Micros> {
  const { rows } = await client.query<{ oldest: string | null }>(
    // + 0 s: forces the index on numbers, instead of a walk along all times until a number fits
    `SELECT ${microsOf(`min("timestamp" + interval '0 s')`)} AS oldest FROM ticks
      WHERE tick_number >= $1 AND "timestamp" < ${timeOf('$2')}`,
    [floor.toString(), day.toString()],
  );
  const oldest = rows[0]?.oldest;
  return oldest == null ? day : BigInt(oldest);
}

/** The bound below which a table is cut: chunks by their partition column. */
function boundOf(table: string, { floor, before }: Cut): { micros: Micros } | { number: bigint } {
  return table === 'vdf_proofs' ? { number: lowestKept(table, floor) } : { micros: before };
}

function lowestKept(table: string, floor: bigint): bigint {
  return table === 'vdf_proofs' && floor > 0n ? floor - 1n : floor;
}

async function isDue(client: Client, known: Hypertables, cut: Cut): Promise<boolean> {
  for (const table of ['ticks', 'tick_transactions', 'vdf_proofs']) {
    if (known.tables.has(table)) {
      if ((await endsOfChunks(client, table, boundOf(table, cut))).length > 0) return true;
    } else if ((await lowestIn(client, table, 0n, lowestKept(table, cut.floor))) !== null) return true;
  }
  return false;
}

async function dropTable(
  client: Client,
  known: Hypertables,
  table: string,
  cut: Cut,
): Promise<{ chunks: number; rows: number }> {
  if (known.tables.has(table))
    return { chunks: await dropChunks(client, known, table, boundOf(table, cut)), rows: 0 };
  const end = lowestKept(table, cut.floor);
  let rows = 0;
  let next = await lowestIn(client, table, 0n, end);
  while (next !== null) {
    const until = next + TICKS_PER_DELETE < end ? next + TICKS_PER_DELETE : end;
    const from = next;
    rows += await inTransaction(client, async () => {
      await client.query(PLANNING);
      const { rowCount } = await client.query(
        `DELETE FROM ${table} WHERE tick_number >= $1 AND tick_number < $2`,
        [from.toString(), until.toString()],
      );
      return rowCount ?? 0;
    });
    next = await lowestIn(client, table, until, end);
  }
  return { chunks: 0, rows };
}

/** The lowest number in [from, end), null when there is none. */
async function lowestIn(client: Client, table: string, from: bigint, end: bigint): Promise<bigint | null> {
  return inTransaction(client, async () => {
    await client.query(PLANNING);
    const { rows } = await client.query<{ n: string }>(
      `SELECT tick_number AS n FROM ${table} WHERE tick_number >= $1 AND tick_number < $2 ORDER BY tick_number LIMIT 1`,
      [from.toString(), end.toString()],
    );
    return rows[0] === undefined ? null : BigInt(rows[0].n);
  });
}
