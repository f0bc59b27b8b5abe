import { test, type Test } from 'tap';
import type { Client } from 'pg';
import { decodeTick } from '../../../../src/core/chain/decode.ts';
import { compareTicks } from '../../../../src/core/chain/digest.ts';
import { transcodeFrame } from '../../../../src/core/copy/frame.ts';
import { replaceDeadLetter } from '../../../../src/store/chain/replace-dead-letter.ts';
import { readStoredTicks } from '../../../../src/store/chain/stored-ticks.ts';
import {
  canCompress,
  compressBars,
  compressChain,
  type CompressionRound,
} from '../../../../src/store/retention/compression.ts';
import { readHypertables } from '../../../../src/store/retention/round.ts';
import { compareStored } from '../../../support/chain/content/oracle.ts';
import { storeFrames, TEST_EPOCH } from '../../../support/chain/content/stored-chain.ts';
import { malformed, rewritten, wireTick } from '../../../support/chain/content/wire.ts';
import { testServers } from '../../../support/servers/postgres.ts';
import {
  BEGIN,
  DAY_MICROS,
  DAYS,
  FIRST,
  firstOf,
  keepsFrom,
  NOW,
  quality,
  storeOf,
  TICKS,
  verifies,
  type Store,
} from './store.ts';

const DAY_MS = 86_400_000;
const PROOFS_PER_CHUNK = 100;
const CHAIN_TABLES = ['ticks', 'tick_transactions', 'vdf_proofs'];

async function compress({ client }: Store, ageDays: number, nowMicros = NOW): Promise<CompressionRound> {
  return compressChain(client, await readHypertables(client), { ageMs: ageDays * DAY_MS, nowMicros });
}

const chunksOf = ({ done }: CompressionRound): [string, number][] =>
  done.map(({ table, chunks }) => [table, chunks]);

/** compressed, and of these in part */
async function statusOf(client: Client, table: string): Promise<{ compressed: number; partial: number }> {
  const { rows } = await client.query<{ compressed: number; partial: number }>(
    `SELECT count(*) FILTER (WHERE k.is_compressed)::int AS compressed, count(*) FILTER (WHERE c.status & 8 <> 0)::int AS partial
       FROM timescaledb_information.chunks k
       JOIN _timescaledb_catalog.chunk c ON c.schema_name = k.chunk_schema AND c.table_name = k.chunk_name
      WHERE k.hypertable_name = $1`,
    [table],
  );
  return rows[0];
}

/** What the views and functions for readers give of some ticks. */
async function readers(client: Client): Promise<unknown[]> {
  const answers: unknown[] = [];
  for (const number of [FIRST, FIRST + 1n, firstOf(2) + 29n, firstOf(3)]) {
    const tick = await client.query('SELECT * FROM get_tick_by_number($1)', [`${number}`]);
    const hash = TICKS[Number(number - FIRST)].transactions[0].txHash;
    const transaction = await client.query('SELECT * FROM get_transaction_by_hash($1)', [hash]);
    answers.push(tick.rows, transaction.rows);
  }
  const complete = await client.query(
    'SELECT * FROM v_ticks_complete WHERE tick_number BETWEEN 1040 AND 1060 ORDER BY 1',
  );
  return [...answers, complete.rows];
}

/** Row by row against the recomputed chain. */
async function isWhole(t: Test, { url }: Store, absent: readonly bigint[] = []): Promise<void> {
  const compared = await compareStored(url, TICKS, { absent: (number) => absent.includes(number) });
  t.equal(compared.ticks, TICKS.length - absent.length);
}

const frameOf = (number: bigint): Buffer<ArrayBuffer> => Buffer.from(wireTick(TICKS[Number(number - FIRST)]));

for (const server of testServers().filter(({ name }) => name === 'timescale')) {
  void test('compression of what is old', { skip: server.skip }, async (t) => {
    const opened = await server.open();
    t.teardown(() => opened.close());
    const probe = await storeOf(t, opened, { ticks: [] });
    if (!(await canCompress(probe.client))) {
      t.comment('the Apache edition compresses nothing');
      return;
    }

    await t.test(
      'whole days of the chain, once; readers, verify and quality see no difference',
      async (s) => {
        const store = await storeOf(s, opened, { proofsPerChunk: PROOFS_PER_CHUNK });
        const before = await readers(store.client);
        const round = await compress(store, 3);
        s.strictSame(chunksOf(round), [
          ['ticks', 5],
          ['tick_transactions', 5],
          // the chunk of 1200 to 1299 has ticks of younger days
          ['vdf_proofs', 2],
        ]);
        s.ok(round.done.every(({ bytesBefore, bytesAfter }) => bytesBefore > 0 && bytesAfter > 0));
        s.strictSame(await compress(store, 3), { done: [], heldBack: [] }, 'nothing is left to do');
        s.strictSame(await readers(store.client), before);
        await isWhole(s, store);
        await verifies(s, store, FIRST);
        s.equal((await quality(store.url)).code, 0);
      },
    );

    await t.test('a chain that is all old keeps its newest days as they are', async (s) => {
      const store = await storeOf(s, opened, { proofsPerChunk: PROOFS_PER_CHUNK });
      const round = await compress(store, 1 / 24, NOW + 1000n * DAY_MICROS);
      s.strictSame(chunksOf(round).slice(0, 1), [['ticks', DAYS - 2]]);
    });

    await t.test(
      'nothing from an open gap on; what fills it later goes into compressed chunks',
      async (s) => {
        const gap = firstOf(2) + 7n;
        const store = await storeOf(s, opened, { gap, proofsPerChunk: PROOFS_PER_CHUNK });
        const { client, url } = store;
        const held = await compress(store, 3);
        s.strictSame(chunksOf(held), [
          ['ticks', 2],
          ['tick_transactions', 2],
          ['vdf_proofs', 1],
        ]);
        s.strictSame(held.heldBack, [
          { what: 'chain', by: `tick ${gap} is an open gap (tick-ingester status)` },
        ]);
        await client.query("SELECT ingest_close_gaps($1, $1, 'unfillable', NULL)", [`${gap}`]);
        s.strictSame(chunksOf(await compress(store, 3))[0], ['ticks', 3]);

        await storeFrames(client, gap, [{ raw: frameOf(gap) }], { fills: true });
        const { rows } = await client.query('SELECT state FROM ingest_gaps');
        s.strictSame(rows, [{ state: 'filled' }]);
        await isWhole(s, store);
        await verifies(s, store, FIRST);
        s.equal((await quality(url)).code, 0);
        for (const table of CHAIN_TABLES) s.equal((await statusOf(client, table)).partial, 1, table);
        await compress(store, 3);
        for (const table of CHAIN_TABLES) s.equal((await statusOf(client, table)).partial, 0, table);
        await isWhole(s, store);
      },
    );

    await t.test(
      'each tick once: the database refuses a second copy, and another content is a conflict',
      async (s) => {
        const store = await storeOf(s, opened, { proofsPerChunk: PROOFS_PER_CHUNK });
        const { client } = store;
        await compress(store, 3);
        const number = firstOf(1) + 5n;
        // without its row in the ledger, only the keys of the tables are in the way
        await client.query('DELETE FROM ingest_ledger WHERE $1 BETWEEN first_tick AND last_tick', [
          `${number}`,
        ]);
        await s.rejects(storeFrames(client, number, [{ raw: frameOf(number) }]), { code: '23505' });
        await client.query('ROLLBACK');
        for (const table of CHAIN_TABLES) {
          await s.rejects(
            client.query(`INSERT INTO ${table} SELECT * FROM ${table} WHERE tick_number = ${number}`),
            { code: '23505' },
            table,
          );
        }
        const stored = (await readStoredTicks(client, [number])).get(number)!;
        const other = wireTick(rewritten(TICKS[Number(number - FIRST)]));
        s.equal(compareTicks(decodeTick(frameOf(number)), stored).isEqual, true);
        s.equal(compareTicks(decodeTick(other), stored).isEqual, false);
        await isWhole(s, store);
      },
    );

    await t.test(
      'a good frame in the place of a dead letter; retention drops compressed chunks',
      async (s) => {
        const bad = firstOf(1) + 3n;
        const store = await storeOf(s, opened, {
          proofsPerChunk: PROOFS_PER_CHUNK,
          frame: (tick) => (tick.tickNumber === bad ? malformed(tick, 'batch-hash') : wireTick(tick)),
        });
        const { client } = store;
        await compress(store, 3);
        await isWhole(s, store, [bad]);
        const limits = { nowMicros: NOW, tickMaxBytes: 1 << 20 };
        const rows = transcodeFrame(frameOf(bad), bad, limits);
        s.equal(rows.kind, 'rows');
        if (rows.kind !== 'rows') return;
        s.match(await replaceDeadLetter(client, TEST_EPOCH, frameOf(bad), rows), {
          kind: 'stored',
          deadLetters: 1,
        });
        await isWhole(s, store);
        const { dropped } = await store.drop(3);
        s.strictSame(
          dropped.map(({ table, chunks }) => [table, chunks]),
          [
            ['ticks', 5],
            ['tick_transactions', 5],
            ['vdf_proofs', 2],
          ],
        );
        await keepsFrom(s, store, firstOf(5));
        s.equal((await quality(store.url)).code, 0);
      },
    );

    await t.test("an operator's own settings stay", async (s) => {
      const store = await storeOf(s, opened);
      await store.client.query(
        "ALTER TABLE ticks SET (timescaledb.compress, timescaledb.compress_orderby = 'timestamp desc')",
      );
      s.strictSame(chunksOf(await compress(store, 3))[0], ['ticks', 5]);
      const { rows } = await store.client.query<{ orderby: string }>(
        "SELECT orderby FROM timescaledb_information.hypertable_compression_settings WHERE hypertable = 'ticks'::regclass",
      );
      s.match(rows[0].orderby, /^"?timestamp"? DESC/i);
    });

    await t.test('bars, below what late events may still correct', async (s) => {
      const { client } = await storeOf(s, opened, { ticks: [] });
      const known = await readHypertables(client);
      await client.query(
        `INSERT INTO bars_ohlcv (provider, symbol, "interval", ts, open, high, low, close, volume, tick_count, first_ts, last_ts, is_final)
         SELECT 'p', 'S' || s, '1m', t, 1, 2, 1, 2, 10, 5, t, t, true
           FROM generate_series(1, 3) s, generate_series($1::timestamptz, $1::timestamptz + interval '60 days', interval '1 hour') t`,
        ['2025-01-01T00:00:00Z'],
      );
      const rule = { ageMs: 7 * DAY_MS, nowMicros: BEGIN, reviseHorizonMs: DAY_MS };
      await client.query(
        `INSERT INTO bars_watermarks (topic, group_name, partition, replay_run_id, provider, symbol, max_ts, closed_end)
         VALUES ('e', 'g', 0, 0, 'p', 'S1', '2025-02-01T12:00:00Z', '2025-02-01T12:00:00Z')`,
      );
      const sums = 'SELECT count(*), sum(volume), max(updated_at) FROM bars_ohlcv';
      const before = (await client.query(sums)).rows;
      const held = await compressBars(client, known, rule);
      // weeks of TimescaleDB begin on Thursdays: those that end by January 29, three days and more below the watermark
      s.strictSame(chunksOf(held), [['bars_ohlcv', 4]]);
      await client.query("UPDATE bars_watermarks SET max_ts = '2025-07-01T00:00:00Z'");
      const [rest] = (await compressBars(client, known, rule)).done;
      s.equal((await statusOf(client, 'bars_ohlcv')).compressed, 4 + rest.chunks);
      s.ok(rest.bytesAfter < rest.bytesBefore);
      s.strictSame((await client.query(sums)).rows, before);
    });
  });
}
