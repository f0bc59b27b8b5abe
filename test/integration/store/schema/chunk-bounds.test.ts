import assert from 'node:assert/strict';
import { test, type Test } from 'tap';
import type { Client } from 'pg';
import { parseIsoMicros } from '../../../../src/core/time.ts';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { TickPages } from '../../../../src/store/chain/tick-pages.ts';
import { lockWarnings } from '../../../../src/store/chunks/locks.ts';
import { TickChunks } from '../../../../src/store/chunks/tick-chunks.ts';
import { readQuality } from '../../../../src/store/quality/report.ts';
import { detectEdition } from '../../../../src/store/postgres/server-info.ts';
import { migrate } from '../../../../src/store/schema/migrate.ts';
import { chainSpec, expectedTicks, type ExpectedTick } from '../../../support/chain/content/expected.ts';
import { beginChain, storeFrames } from '../../../support/chain/content/stored-chain.ts';
import { wireTick } from '../../../support/chain/content/wire.ts';
import { testServers, type OpenTestServer } from '../../../support/servers/postgres.ts';

const DAYS = 16;
const PER_DAY = 12;
const FIRST = 1_000n;
const BEGIN = parseIsoMicros('2025-08-01');
const DAY_MICROS = 86_400_000_000n;
/** Every 12th tick is the first of a day; the one behind it is an hour older, so of the day before. */
const timeOf = (index: number): bigint =>
  BEGIN +
  BigInt(Math.floor(index / PER_DAY)) * DAY_MICROS +
  BigInt(index % PER_DAY) * 60_000_000n -
  (index % PER_DAY === 1 ? DAY_MICROS / 24n : 0n);
const TICKS = [...expectedTicks(chainSpec({ seed: 17, txs: 2, first: FIRST }), DAYS * PER_DAY)].map(
  (tick, index): ExpectedTick => ({ ...tick, timestamp: timeOf(index) }),
);
const COMPRESSED = [
  `ALTER TABLE ticks SET (timescaledb.compress, timescaledb.compress_orderby = '"timestamp", tick_number')`,
  `ALTER TABLE vdf_proofs SET (timescaledb.compress, timescaledb.compress_orderby = 'tick_number')`,
  `ALTER TABLE tick_transactions SET (timescaledb.compress, timescaledb.compress_orderby = 'tick_timestamp, tick_number, sequence_number')`,
  ...['ticks', 'vdf_proofs', 'tick_transactions'].map(
    (table) => `SELECT compress_chunk(c) FROM show_chunks('${table}') c`,
  ),
];

interface Store {
  client: Client;
  isHyper: boolean;
}

async function storeOf(t: Test, opened: OpenTestServer, isCompressed: boolean): Promise<Store | null> {
  const client = await connect(parseDatabaseUrl(await opened.createDatabase()), { applicationName: 'test' });
  t.teardown(() => client.end());
  const { edition } = await detectEdition(client);
  if (isCompressed && edition !== 'community') return null;
  // proofs in several chunks as well
  if (edition !== 'plain') await client.query("SELECT set_chunk_time_interval('vdf_proofs', 100)");
  await migrate(client);
  await beginChain(client, FIRST);
  for (let at = 0; at < TICKS.length; at += 30) {
    const frames = TICKS.slice(at, at + 30).map((tick) => ({ raw: wireTick(tick) }));
    await storeFrames(client, FIRST + BigInt(at), frames);
  }
  if (isCompressed) for (const sql of COMPRESSED) await client.query(sql);
  return { client, isHyper: edition !== 'plain' };
}

/** How many chunks of ticks a backend has locked. */
async function locksOf(client: Client, pid: number): Promise<number> {
  const { rows } = await client.query<{ n: string }>(
    `SELECT count(*) AS n FROM pg_locks l JOIN timescaledb_information.chunks c
         ON l.relation = format('%I.%I', c.chunk_schema, c.chunk_name)::regclass
      WHERE l.pid = $1 AND c.hypertable_name = 'ticks'`,
    [pid],
  );
  return Number(rows[0].n);
}

/** How many chunks of these tables a transaction has locked after the statement. */
async function chunksLocked(client: Client, sql: string, tables: readonly string[]): Promise<number> {
  await client.query('BEGIN');
  try {
    await client.query(sql);
    const { rows } = await client.query<{ n: string }>(
      `SELECT count(DISTINCT c.chunk_name) AS n FROM pg_locks l JOIN timescaledb_information.chunks c
           ON l.relation = format('%I.%I', c.chunk_schema, c.chunk_name)::regclass
        WHERE l.pid = pg_backend_pid() AND c.hypertable_name = ANY ($1)`,
      [tables],
    );
    return Number(rows[0].n);
  } finally {
    await client.query('ROLLBACK');
  }
}

for (const server of testServers()) {
  void test(`a tick by its number on the ${server.name} server`, { skip: server.skip }, async (t) => {
    const opened = await server.open();
    t.teardown(() => opened.close());
    for (const isCompressed of server.name === 'timescale' ? [false, true] : [false]) {
      await t.test(isCompressed ? 'compressed' : 'not compressed', async (t) => {
        const store = await storeOf(t, opened, isCompressed);
        if (store === null) return; // this edition has no compression
        const { client, isHyper } = store;

        for (const [at, tick] of TICKS.entries()) {
          const { rows } = await client.query('SELECT * FROM get_tick_by_number($1)', [
            tick.tickNumber.toString(),
          ]);
          assert.equal(rows.length, 1, `tick ${tick.tickNumber}`);
          assert.deepEqual(
            [rows[0].batch_hash, rows[0].previous_output, rows[0].vdf_output],
            [tick.batchHash, at === 0 ? tick.previousOutput : TICKS[at - 1].output, tick.output],
          );
        }
        for (const number of [FIRST - 1n, FIRST + BigInt(TICKS.length), 2n ** 63n - 1n, -(2n ** 63n)]) {
          t.equal((await client.query('SELECT FROM get_tick_by_number($1)', [`${number}`])).rowCount, 0);
        }
        const { txHash } = TICKS[77].transactions[1];
        const found = await client.query('SELECT * FROM get_transaction_by_hash($1)', [txHash]);
        t.match(found.rows, [{ tick_number: `${FIRST + 77n}`, batch_hash: TICKS[77].batchHash }]);
        const recent = await client.query<{ n: string; rows: string }>(
          'SELECT count(*) AS rows, sum(transaction_count) AS n FROM v_recent_ticks',
        );
        t.strictSame(recent.rows, [{ rows: '100', n: '200' }]);

        // both ends of a range, at the edge of two days
        const edge = FIRST + BigInt(PER_DAY * 12);
        t.strictSame(
          (await client.query(`SELECT ingest_check_links(${edge - 3n}, ${edge + 2n}, 1)`)).rows,
          [],
        );
        if (!isHyper) return;
        // as many chunks as the days around the tick
        const look = `SELECT * FROM get_tick_by_number(${edge})`;
        t.ok((await chunksLocked(client, look, ['vdf_proofs'])) <= 5, 'chunks of proofs');
        const ticks = await chunksLocked(client, look, ['ticks']);
        t.ok(ticks >= 1 && ticks <= 8, `${ticks} of ${DAYS} chunks of ticks, those of the search included`);
        const links = await chunksLocked(client, `SELECT ingest_check_links(${edge}, ${edge}, 1)`, ['ticks']);
        t.ok(links >= 1 && links <= 8, `${links} chunks of ticks`);

        const plan = await client.query<{ 'QUERY PLAN': string }>(
          `EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT c.* FROM chain_times(${edge}, ${edge}) w, v_ticks_complete c
            WHERE c.tick_number = ${edge} AND c."timestamp" >= '${(await timesOf(client, edge)).from}'
              AND c."timestamp" < '${(await timesOf(client, edge)).to}'`,
        );
        const lines = plan.rows.map((row) => row['QUERY PLAN']);
        const scans = lines.filter(
          (line) => / on _hyper_\d+_\d+_chunk/.test(line) && !/never executed/.test(line),
        );
        t.ok(scans.length <= 5, `three days of ticks, two chunks of proofs:\n${lines.join('\n')}`);
      });
    }

    await t.test('verify and quality hold the locks of a page alone', async (t) => {
      const store = await storeOf(t, opened, false);
      if (store === null || !store.isHyper) return;
      const { client } = store;
      const watcher = await connect(
        { ...parseDatabaseUrl(process.env['TIMESCALE_TEST_URL'] ?? ''), database: client.database ?? '' },
        { applicationName: 'watcher' },
      );
      t.teardown(() => watcher.end());
      const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
      const held: number[] = [];
      const looks: Promise<void>[] = [];
      const last = FIRST + BigInt(TICKS.length) - 1n;
      const options = { from: null, to: null, hashes: true };
      const look = async (): Promise<void> => void held.push(await locksOf(watcher, rows[0].pid));
      const report = await readQuality(client, { ...options, onProgress: () => looks.push(look()) });
      await Promise.all(looks);
      t.strictSame(
        [report.stored, report.rows.size],
        [BigInt(TICKS.length), 1],
        'and times that go backwards',
      );
      t.ok(
        held.length > 0 && held.every((n) => n === 0),
        `chunks of ticks that are locked: ${held.join(', ')}`,
      );

      const pages = new TickPages(client, await TickChunks.read(client));
      t.ok(!pages.isTooWide({ first: FIRST, last }));
      await pages.begin({ first: FIRST + 100n, last: FIRST + 109n }, 2 ** 20);
      const locked = await locksOf(watcher, rows[0].pid);
      await pages.done();
      t.ok(locked >= 1 && locked <= 3, `a page of half a day reads ${locked} chunks`);
      t.equal(await pages.nextStored(0n), FIRST);
      await client.query('COMMIT').catch(() => {});
      t.strictSame(await lockWarnings(client), []);
    });

    await t.test('a chain whose times jump is found, and a broken link too', async (t) => {
      const client = await connect(parseDatabaseUrl(await opened.createDatabase()), {
        applicationName: 'test',
      });
      t.teardown(() => client.end());
      await migrate(client);
      await beginChain(client, FIRST);
      const jumping = TICKS.slice(0, 40).map((tick, at) => ({
        ...tick,
        timestamp: BEGIN + BigInt((at * 7) % 40) * DAY_MICROS,
      }));
      await storeFrames(
        client,
        FIRST,
        jumping.map((tick) => ({ raw: wireTick(tick) })),
      );
      for (const tick of jumping) {
        const { rows } = await client.query('SELECT batch_hash FROM get_tick_by_number($1)', [
          tick.tickNumber.toString(),
        ]);
        assert.deepEqual(rows, [{ batch_hash: tick.batchHash }]);
      }
      const broken = FIRST + 23n;
      await client.query('UPDATE ticks SET previous_output = $2 WHERE tick_number = $1', [`${broken}`, 'ab']);
      const { rows } = await client.query(`SELECT ingest_check_links(${broken}, ${broken}, 1) AS n`);
      t.strictSame(rows, [{ n: `${broken}` }]);
      t.strictSame(
        (await client.query(`SELECT ingest_check_links(${broken - 1n}, ${broken - 1n}, 1)`)).rows,
        [],
      );
    });
  });
}

async function timesOf(client: Client, number: bigint): Promise<{ from: string; to: string }> {
  const { rows } = await client.query<{ from: string; to: string }>(
    `SELECT from_time::text AS from, to_time::text AS to FROM chain_times($1, $1)`,
    [number.toString()],
  );
  return rows[0];
}
