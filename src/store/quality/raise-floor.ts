import type { Client } from 'pg';
import { explainHoles } from '../../core/chain/verify/holes.ts';
import { INT64_MAX } from '../../core/chain/tick.ts';
import type { TickRange } from '../../core/ingest/ranges.ts';
import { deciding, DecisionRefused } from '../chain/halt.ts';
import { readExtent } from '../chain/overview.ts';
import { TickPages } from '../chain/tick-pages.ts';
import { releasingLocks } from '../chunks/locks.ts';
import { TickChunks } from '../chunks/tick-chunks.ts';
import { chainTimes, UNBOUND, type ChainTimes } from '../chunks/times.ts';
import { inSnapshot } from '../postgres/transaction.ts';
import { exists, knowsRetention, raiseFloor } from '../retention/round.ts';
import { readPage } from './page.ts';
import { PAGE_CHUNKS_MAX, PLANNER } from './report.ts';

/** So many complete ticks in a row end the search: times that go backwards leave a ragged edge. */
const PAGE_TICKS = 1024n;
/** batch_hash of a tick without transactions: SHA-256 of nothing */
const EMPTY_BATCH_HASH = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

/** What an operator is told before and after. */
export interface RaisedFloor {
  /** what verify and quality began with so far */
  from: bigint;
  /** the lowest tick that is complete: stored with its proof, its transactions and the output it links to */
  floor: bigint;
  position: bigint;
  /** ticks below the floor that were still looked for */
  openBelow: bigint;
  /** last tick whose orders are published, where it lies below the floor: those of the others are lost */
  publishedUpTo: bigint | null;
}

/**
 * The lowest tick from which on the chain is complete, after rows of older ones were removed by hand (drop_chunks); null
 * when nothing at the lower end is missing. What gaps and dead letters explain is not missing. It looks at the lower end
 * alone: a hole beyond a page of complete ticks is a loss, and stays one to verify and quality.
 * @throws DecisionRefused when nothing is ingested or no complete tick is left
 */
export function findLowestComplete(client: Client): Promise<RaisedFloor | null> {
  return inSnapshot(client, async () => {
    await client.query(PLANNER.map((setting) => `SET LOCAL ${setting}`).join('; '));
    const chunks = await TickChunks.read(client, releasingLocks(client));
    const { floor: from, position } = await readExtent(client);
    if (from === null || position === null) throw new DecisionRefused('nothing was ever ingested here');
    const floor = await search(client, chunks, from, position);
    return floor === null ? null : { from, floor, position, ...(await readBelow(client, floor)) };
  });
}

/**
 * `tick-ingester raise-floor`: what lies below counts as dropped from now on, as if retention had done it. Gaps below are
 * not filled any more. Under the fence, so that no batch is in flight that fills one of them.
 * @throws DecisionRefused when the tick is not complete any more
 */
export async function raiseChainFloor(client: Client, { floor }: RaisedFloor): Promise<void> {
  if (!(await knowsRetention(client)))
    throw new DecisionRefused('schema/007_retention.sql is missing. Run first: mdp db migrate');
  await deciding(client, async () => {
    if (!(await isLinked(client, floor)))
      throw new DecisionRefused(`tick ${floor} was removed meanwhile: try again`);
    await raiseFloor(client, 'chain', { tick: floor });
    if (floor > 0n)
      await client.query(
        "SELECT ingest_close_gaps(0, $1, 'skipped', 'below the floor that an operator raised')",
        [(floor - 1n).toString()],
      );
  });
}

/** Null: nothing is missing at the lower end. */
async function search(
  client: Client,
  chunks: TickChunks,
  from: bigint,
  position: bigint,
): Promise<bigint | null> {
  const pages = new TickPages(client, chunks);
  const released = releasingLocks(client);
  let lowest = from;
  let isDamaged = false;
  for (;;) {
    const looked = lowest;
    const start = await released(() => lowestStored(client, chunks, looked));
    if (start === null || start > position)
      throw new DecisionRefused(
        `no tick from ${from} to ${position} is complete: wait until later ones are stored`,
      );
    const below =
      start === lowest ? null : await lost(pages, [{ first: lowest, last: start - 1n }], position);
    if (below !== null) isDamaged = true;
    const damaged = await released(
      async () =>
        (await withoutTransactions(client, chunks, start)) ??
        (await damagedIn(client, { pages, chunks }, start, position)) ??
        ((await isLinked(client, start)) ? null : start),
    );
    if (damaged === null) return isDamaged ? start : null;
    isDamaged = true;
    lowest = damaged + 1n;
  }
}

/** No tick below it is complete. */
async function lowestStored(client: Client, chunks: TickChunks, from: bigint): Promise<bigint | null> {
  const { rows } = await client.query<{ tick: string | null; proof: string | null }>(
    `SELECT ${chunks.lowestFrom('ticks', from)} AS tick,
       (SELECT tick_number FROM vdf_proofs WHERE tick_number >= $1 ORDER BY tick_number LIMIT 1) AS proof`,
    [from.toString()],
  );
  const { tick, proof } = rows[0];
  if (tick === null || proof === null) return null;
  return BigInt(tick) > BigInt(proof) ? BigInt(tick) : BigInt(proof);
}

/** Of numbers that are not stored, the highest one that no gap and no dead letter explains. */
async function lost(
  pages: TickPages,
  missing: readonly TickRange[],
  position: bigint,
): Promise<bigint | null> {
  const [first, last] = [missing[0]?.first, missing.at(-1)?.last];
  if (first === undefined || last === undefined) return null;
  const parts = explainHoles(missing, await pages.holes({ first, last }, position));
  return parts.findLast(({ cause }) => cause === 'unexplained')?.last ?? null;
}

/** The last tick, below the first stored transaction, that had some: in one step, however many there are. */
async function withoutTransactions(client: Client, chunks: TickChunks, from: bigint): Promise<bigint | null> {
  const first = await oneNumber(client, `SELECT ${chunks.lowestFrom('tick_transactions', from)} AS n`, []);
  const last = first === null ? INT64_MAX : first - 1n;
  if (last < from) return null;
  const some = `tick_number BETWEEN ${from} AND ${last} AND batch_hash <> '${EMPTY_BATCH_HASH}'`;
  const ticks = chunks.select('ticks', 'tick_number', some, { first: from, last });
  return oneNumber(client, `SELECT tick_number AS n FROM (${ticks}) t ORDER BY tick_number DESC LIMIT 1`, []);
}

/** The highest number of a page of which something is missing. */
async function damagedIn(
  client: Client,
  { pages, chunks }: { pages: TickPages; chunks: TickChunks },
  first: bigint,
  position: bigint,
): Promise<bigint | null> {
  const end = first + PAGE_TICKS - 1n < position ? first + PAGE_TICKS - 1n : position;
  const last = chunks.lastWithin({ first, last: end }, PAGE_CHUNKS_MAX);
  const page = await readPage(client, { first, last }, false, chunks);
  const numbers = `tick_number BETWEEN ${first} AND ${last}`;
  const some = `${numbers} AND batch_hash <> '${EMPTY_BATCH_HASH}'`;
  const found = [
    await lost(pages, page.missing, position),
    page.found.get('tick_without_proof')?.at(-1) ?? null,
    await oneNumber(
      client,
      `SELECT max(t.tick_number) AS n
         FROM (${chunks.select('ticks', 'tick_number', some, { first, last })}) t
         LEFT JOIN (${chunks.select('tick_transactions', 'DISTINCT tick_number', numbers, { first, last })}) x
           ON x.tick_number = t.tick_number
        WHERE x.tick_number IS NULL`,
      [],
    ),
  ];
  return found.reduce((a, b) => (a === null || (b !== null && b > a) ? b : a), null);
}

/** Whether it is stored, and what it links to is known. */
async function isLinked(client: Client, tick: bigint): Promise<boolean> {
  const times = await chainTimes(client, { first: tick, last: tick });
  if (await isLinkedWithin(client, tick, times)) return true;
  return !times.isUnbound && (await isLinkedWithin(client, tick, UNBOUND));
}

async function isLinkedWithin(client: Client, tick: bigint, times: ChainTimes): Promise<boolean> {
  const { rows } = await client.query<{ is_linked: boolean }>(
    `SELECT EXISTS (SELECT FROM vdf_proofs WHERE tick_number = $1)
        AND EXISTS (SELECT FROM ticks t WHERE t.tick_number = $1${times.and('ticks')}
               AND (t.previous_output IS NOT NULL OR EXISTS (SELECT FROM vdf_proofs WHERE tick_number = $1::bigint - 1)))
       AS is_linked`,
    [tick.toString()],
  );
  return rows[0].is_linked;
}

async function readBelow(
  client: Client,
  floor: bigint,
): Promise<Pick<RaisedFloor, 'openBelow' | 'publishedUpTo'>> {
  const open = await oneNumber(
    client,
    `SELECT coalesce(sum(least(last_tick, $1::bigint - 1) - first_tick + 1), 0) AS n FROM ingest_gaps
      WHERE state = 'open' AND first_tick < $1`,
    [floor.toString()],
  );
  const published = (await exists(client, 'stage_cursors'))
    ? await oneNumber(
        client,
        `SELECT ("position"->>'tick')::bigint AS n FROM stage_cursors WHERE name = 'orders'`,
        [],
      )
    : null;
  return {
    openBelow: open ?? 0n,
    publishedUpTo: published !== null && published < floor - 1n ? published : null,
  };
}

async function oneNumber(client: Client, sql: string, values: string[]): Promise<bigint | null> {
  const { rows } = await client.query<{ n: string | null }>(sql, values);
  return rows[0]?.n == null ? null : BigInt(rows[0].n);
}
