import type { Test } from 'tap';
import type { Client } from 'pg';
import { formatMicros, parseIsoMicros, systemClock } from '../../../../src/core/time.ts';
import { registerQuality } from '../../../../src/run/cli/chain/quality.ts';
import { verifyStored } from '../../../../src/run/verify/verify.ts';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { migrate } from '../../../../src/store/schema/migrate.ts';
import { readExtent, readOverview } from '../../../../src/store/chain/overview.ts';
import { readHypertables, type Round } from '../../../../src/store/retention/round.ts';
import { dropChain } from '../../../../src/store/retention/chain.ts';
import { runInProcess } from '../../../support/run/command-in-process.ts';
import { chainSpec, expectedTicks, type ExpectedTick } from '../../../support/chain/content/expected.ts';
import { type OpenTestServer } from '../../../support/servers/postgres.ts';
import { beginChain, storeFrames } from '../../../support/chain/content/stored-chain.ts';
import { wireTick } from '../../../support/chain/content/wire.ts';

/** Stored chains for the tests of what is dropped and compressed. */

export const FIRST = 1000n;
export const DAYS = 8;
export const PER_DAY = 50;
export const COUNT = DAYS * PER_DAY;
export const LAST = FIRST + BigInt(COUNT) - 1n;
/** Batches end within days, so that the first tick of a day relies on the output of the day before. */
const BATCH = 30;
const DAY_MS = 86_400_000;
export const DAY_MICROS = 86_400_000_000n;
export const BEGIN = parseIsoMicros('2025-08-01');
/** an hour after midnight of the day behind the last tick's */
export const NOW = BEGIN + BigInt(DAYS) * DAY_MICROS + 3_600_000_000n;
export const TICKS = [...expectedTicks(chainSpec({ seed: 61, txs: 2, first: FIRST }), COUNT)].map(
  (tick, index): ExpectedTick => ({
    ...tick,
    timestamp:
      BEGIN + BigInt(Math.floor(index / PER_DAY)) * DAY_MICROS + BigInt(index % PER_DAY) * 60_000_000n,
  }),
);

/** The first tick of a day, counted from 0. */
export const firstOf = (day: number): bigint => FIRST + BigInt(day * PER_DAY);

export interface Store {
  client: Client;
  url: string;
  isHyper: boolean;
  drop(ageDays: number): Promise<Round>;
}

export async function storeOf(
  t: Test,
  opened: OpenTestServer,
  {
    ticks = TICKS,
    gap,
    proofsPerChunk,
    frame = wireTick,
  }: {
    ticks?: readonly ExpectedTick[];
    gap?: bigint;
    proofsPerChunk?: number;
    frame?: (tick: ExpectedTick) => Uint8Array;
  } = {},
): Promise<Store> {
  const url = await opened.createDatabase();
  const client = await connect(parseDatabaseUrl(url), { applicationName: 'test' });
  t.teardown(() => client.end());
  await migrate(client);
  const known = await readHypertables(client);
  if (proofsPerChunk !== undefined && known.tables.has('vdf_proofs'))
    await client.query(`SELECT set_chunk_time_interval('vdf_proofs', ${proofsPerChunk})`);
  await beginChain(client, FIRST);
  for (let at = 0; at < ticks.length;) {
    const first = FIRST + BigInt(at);
    const frames = [];
    for (; at < ticks.length && frames.length < BATCH && ticks[at].tickNumber !== gap; at++)
      frames.push({ raw: frame(ticks[at]) });
    const gaps = at < ticks.length && ticks[at].tickNumber === gap ? [{ first: gap, last: gap }] : [];
    if (gaps.length > 0) at += 1;
    if (frames.length > 0) await storeFrames(client, first, frames);
    if (gaps.length > 0) {
      await client.query('INSERT INTO ingest_gaps (first_tick, last_tick) VALUES ($1, $1)', [String(gap)]);
    }
  }
  return {
    client,
    url,
    isHyper: known.tables.has('ticks'),
    drop: (ageDays) => dropChain(client, known, { ageMs: ageDays * DAY_MS, nowMicros: NOW }),
  };
}

async function lowest(client: Client, table: string): Promise<bigint> {
  const { rows } = await client.query<{ n: string }>(`SELECT min(tick_number) AS n FROM ${table}`);
  return BigInt(rows[0].n);
}

/** Everything from the floor on is there, and the programs that judge the chain say so. */
export async function keepsFrom(t: Test, { client, url, isHyper }: Store, floor: bigint): Promise<void> {
  t.equal(await lowest(client, 'ticks'), floor);
  t.equal(await lowest(client, 'tick_transactions'), floor);
  if (!isHyper) t.equal(await lowest(client, 'vdf_proofs'), floor - 1n, 'the output that the floor links to');
  const extent = await readExtent(client);
  t.strictSame(extent, { floor, position: LAST });
  t.equal((await readOverview(client)).floor, `${floor}`);
  await verifies(t, { url }, floor);
  const previous = await client.query('SELECT previous_output FROM get_tick_by_number($1)', [`${floor}`]);
  t.strictSame(previous.rows, [{ previous_output: TICKS[Number(floor - FIRST)].previousOutput }]);
}

export async function verifies(t: Test, { url }: Pick<Store, 'url'>, floor: bigint): Promise<void> {
  const verified = await verifyStored({
    databaseUrl: url,
    applicationName: 'test',
    range: { first: floor, last: LAST },
    vdf: { kind: 'all' },
    position: LAST,
    threads: 1,
    progress: () => {},
  });
  t.strictSame(verified.findings, []);
  t.equal(verified.ticks, Number(LAST - floor) + 1);
}

/** By hand, without a word to the service: what of a table is older than a day. */
export async function dropByHand({ client, isHyper }: Store, table: string, day: number): Promise<void> {
  const column = table === 'ticks' ? '"timestamp"' : 'tick_timestamp';
  const time = formatMicros(BEGIN + BigInt(day) * DAY_MICROS);
  if (table === 'vdf_proofs')
    await client.query(`DELETE FROM vdf_proofs WHERE tick_number < ${firstOf(day)}`);
  else if (isHyper) await client.query(`SELECT drop_chunks('${table}', older_than => timestamptz '${time}')`);
  else await client.query(`DELETE FROM ${table} WHERE ${column} < '${time}'`);
}

export interface QualityJson {
  ok: boolean;
  floor: string | null;
  range: { first: string; last: string };
}

export async function quality(
  url: string,
  ...args: string[]
): Promise<{ code: number; out: string; err: string }> {
  return runInProcess(
    (program) => registerQuality(program, { databaseUrl: url, clock: systemClock }),
    'quality',
    ...args,
  );
}
