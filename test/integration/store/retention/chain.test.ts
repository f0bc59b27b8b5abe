import { test } from 'tap';
import { formatMicros } from '../../../../src/core/time.ts';
import { verifyStored } from '../../../../src/run/verify/verify.ts';
import { readExtent, readOverview } from '../../../../src/store/chain/overview.ts';
import { raiseFloor, readHypertables } from '../../../../src/store/retention/round.ts';
import { dropChain } from '../../../../src/store/retention/chain.ts';
import { findLowestComplete, raiseChainFloor } from '../../../../src/store/quality/raise-floor.ts';
import { runCommand } from '../../../support/run/command.ts';
import { testServers } from '../../../support/servers/postgres.ts';

import {
  FIRST,
  DAYS,
  PER_DAY,
  COUNT,
  LAST,
  DAY_MICROS,
  BEGIN,
  NOW,
  TICKS,
  firstOf,
  storeOf,
  keepsFrom,
  verifies,
  dropByHand,
  quality,
  type QualityJson,
} from './store.ts';

for (const server of testServers()) {
  void test(`retention of the chain on ${server.name}`, { skip: server.skip }, async (t) => {
    const opened = await server.open();
    t.teardown(() => opened.close());

    await t.test('whole days go from all three tables, once', async (s) => {
      const store = await storeOf(s, opened);
      const { dropped, heldBack } = await store.drop(3);
      s.strictSame(heldBack, []);
      const rows = 5 * PER_DAY;
      s.strictSame(
        dropped,
        store.isHyper
          ? ['ticks', 'tick_transactions'].map((table) => ({ table, chunks: 5, rows: 0 }))
          : [
              { table: 'ticks', chunks: 0, rows },
              { table: 'tick_transactions', chunks: 0, rows: 2 * rows },
              { table: 'vdf_proofs', chunks: 0, rows: rows - 1 },
            ],
      );
      await keepsFrom(s, store, firstOf(5));
      s.strictSame(await store.drop(3), { dropped: [], heldBack: [] }, 'nothing is left to go');
      s.strictSame(await store.drop(6), { dropped: [], heldBack: [] }, 'the floor never goes down');
      await keepsFrom(s, store, firstOf(5));
    });

    await t.test('quality begins at the floor, whatever it is asked for', async (s) => {
      const store = await storeOf(s, opened);
      await store.drop(3);
      const floor = `${firstOf(5)}`;
      for (const from of [[], ['--from', `${FIRST}`], ['--from', formatMicros(BEGIN)]]) {
        const { code, out } = await quality(store.url, '--json', ...from);
        const json = JSON.parse(out) as QualityJson;
        s.strictSame(
          [code, json.ok, json.floor, json.range],
          [0, true, floor, { first: floor, last: `${LAST}` }],
        );
      }
      const { code, err } = await quality(store.url, '--to', `${FIRST + 10n}`);
      s.equal(code, 1);
      s.match(err, `ticks ${floor} to ${LAST} are recorded and kept`);
    });

    await t.test('nothing at or beyond an open gap goes', async (s) => {
      const gap = firstOf(2) + 7n;
      const store = await storeOf(s, opened, { gap });
      const { heldBack } = await store.drop(3);
      s.strictSame(heldBack, [{ what: 'chain', by: `tick ${gap} is an open gap (tick-ingester status)` }]);
      s.equal((await readExtent(store.client)).floor, gap - 1n);
      await store.client.query("SELECT ingest_close_gaps($1, $1, 'unfillable', NULL)", [`${gap}`]);
      s.strictSame((await readOverview(store.client)).gaps, [{ state: 'unfillable', ranges: 1, ticks: '1' }]);
      const { rows } = await store.client.query(
        'SELECT count(*)::int AS n FROM ticks t JOIN vdf_proofs v USING (tick_number) WHERE tick_number >= $1',
        [`${gap - 1n}`],
      );
      s.strictSame(rows, [{ n: Number(LAST - gap) + 1 }]);
      await store.drop(3);
      await keepsFrom(s, store, firstOf(5));
      s.strictSame((await readOverview(store.client)).gaps, [], 'a gap that was given up is gone as well');
    });

    await t.test('nothing goes of which orders are still to be published', async (s) => {
      const store = await storeOf(s, opened);
      const cursor = firstOf(1) + 3n;
      await store.client.query(
        `INSERT INTO stage_cursors (name, "position") VALUES ('orders', jsonb_build_object('tick', $1::text))`,
        [`${cursor}`],
      );
      const { heldBack } = await store.drop(3);
      s.match(heldBack, [{ what: 'chain', by: /^the orders of tick 1053 are not published yet/ }]);
      s.equal((await readExtent(store.client)).floor, cursor);
    });

    await t.test('a chain that is all old keeps its newest days: its next tick belongs there', async (s) => {
      const store = await storeOf(s, opened);
      await dropChain(store.client, await readHypertables(store.client), {
        ageMs: 3_600_000,
        nowMicros: NOW + 1000n * DAY_MICROS,
      });
      await keepsFrom(s, store, firstOf(DAYS - 2));
    });

    await t.test('where timestamps go backwards, no tick from the floor on is lost', async (s) => {
      const ticks = TICKS.map((tick, index) => {
        // tick 70 (day 1) says day 7; tick 320 (day 6) says day 3
        if (index === 70) return { ...tick, timestamp: TICKS[COUNT - 1].timestamp };
        return index === 320 ? { ...tick, timestamp: TICKS[3 * PER_DAY].timestamp } : tick;
      });
      const store = await storeOf(s, opened, { ticks });
      await store.drop(3);
      s.equal((await readExtent(store.client)).floor, FIRST + 70n);
      const { rows } = await store.client.query(
        `SELECT count(*)::int AS ticks, (SELECT count(*)::int FROM tick_transactions WHERE tick_number >= $1) AS transactions
           FROM ticks WHERE tick_number >= $1`,
        [`${FIRST + 70n}`],
      );
      s.strictSame(rows, [{ ticks: COUNT - 70, transactions: 2 * (COUNT - 70) }]);
    });

    await t.test('what an interrupted round has left goes with the next one', async (s) => {
      const store = await storeOf(s, opened);
      await raiseFloor(store.client, 'chain', { tick: firstOf(5) });
      await store.client.query('DELETE FROM ticks WHERE tick_number < 1100');
      const { dropped } = await store.drop(3);
      s.ok(dropped.some(({ table }) => table === 'tick_transactions'));
      await keepsFrom(s, store, firstOf(5));
    });

    await t.test('chunks that were dropped by hand count as dropped once an operator says so', async (s) => {
      const store = await storeOf(s, opened);
      const { client, url } = store;
      const environment = { DATABASE_URL: url, CONTINUUM_GRPC_URL: '127.0.0.1:1' };
      s.equal(await findLowestComplete(client), null, 'nothing is missing');
      await dropByHand(store, 'ticks', 4);
      await dropByHand(store, 'tick_transactions', 5);
      s.equal((await quality(url)).code, 1);
      const dry = await runCommand('tick-ingester', ['raise-floor', '--dry-run'], environment);
      s.equal(dry.code, 0, dry.stderr);
      s.match(
        dry.stdout,
        `The floor would be tick ${firstOf(5)}: of ${FIRST} to ${firstOf(5) - 1n} something is missing`,
      );
      s.equal((await quality(url)).code, 1, 'nothing was done yet');
      const raised = await runCommand('tick-ingester', ['raise-floor'], environment);
      s.equal(raised.code, 0, raised.stderr);
      s.match(raised.stdout, `The floor is tick ${firstOf(5)}: `);
      s.equal((await quality(url)).code, 0);
      await verifies(s, store, firstOf(5));
      const { rows } = await client.query<{ epoch: string }>('SELECT epoch FROM ingest_state');
      s.ok(BigInt(rows[0].epoch) > 1n, 'a running daemon starts over');
      const again = await runCommand('tick-ingester', ['raise-floor'], environment);
      s.match(again, { code: 0, stdout: /^Nothing is missing/ });
    });

    await t.test(
      'without its proofs a tick is not complete, nor one that links to a proof that is gone',
      async (s) => {
        const store = await storeOf(s, opened);
        await dropByHand(store, 'vdf_proofs', 2);
        const found = await findLowestComplete(store.client);
        // its previous_output was left out, as it is in the same batch
        s.equal(TICKS[2 * PER_DAY].tickNumber, firstOf(2));
        s.equal(found?.floor, firstOf(2) + 1n);
        await raiseChainFloor(store.client, found!);
        s.equal((await quality(store.url)).code, 0);
        s.strictSame(await readExtent(store.client), { floor: firstOf(2) + 1n, position: LAST });
      },
    );

    await t.test(
      'gaps below the floor are not looked for any more, and a hole close above it counts to the edge',
      async (s) => {
        const gap = firstOf(1) + 7n;
        const store = await storeOf(s, opened, { gap });
        const { client, url } = store;
        await client.query(
          `INSERT INTO stage_cursors (name, "position") VALUES ('orders', '{"tick": "1010"}')`,
        );
        s.equal(await findLowestComplete(client), null, 'a gap is no damage');
        await dropByHand(store, 'ticks', 3);
        const hole = firstOf(6);
        await client.query('DELETE FROM tick_transactions WHERE tick_number = $1', [`${hole}`]);
        const found = await findLowestComplete(client);
        s.strictSame(found, {
          from: FIRST,
          floor: hole + 1n,
          position: LAST,
          openBelow: 1n,
          publishedUpTo: 1010n,
        });
        await raiseChainFloor(client, found!);
        const { rows } = await client.query('SELECT state, last_error FROM ingest_gaps');
        s.strictSame(rows, [{ state: 'skipped', last_error: 'below the floor that an operator raised' }]);
        s.equal((await quality(url)).code, 0);
      },
    );

    await t.test('where nothing complete is left, the floor stays', async (s) => {
      const store = await storeOf(s, opened);
      await dropByHand(store, 'tick_transactions', DAYS);
      await s.rejects(findLowestComplete(store.client), {
        message: /^no tick from 1000 to 1399 is complete/,
      });
    });

    await t.test('a verification that began before passes over what has gone', async (s) => {
      const store = await storeOf(s, opened);
      await store.drop(3);
      const { findings, ticks } = await verifyStored({
        databaseUrl: store.url,
        applicationName: 'test',
        range: { first: FIRST, last: LAST },
        vdf: { kind: 'off' },
        position: LAST,
        threads: 1,
        progress: () => {},
      });
      s.strictSame(findings, []);
      s.equal(ticks, 3 * PER_DAY);
    });
  });
}
