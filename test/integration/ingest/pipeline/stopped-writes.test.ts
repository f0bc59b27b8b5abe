import assert from 'node:assert/strict';
import { test } from 'tap';
import { deadLetters } from '../../../support/chain/dead-letters.ts';
import { chainSpec } from '../../../support/chain/content/expected.ts';
import { sharedPostgres } from '../../../support/servers/postgres.ts';
import { withIngester } from '../../../support/chain/harness.ts';

/** The tables take nothing, with the code of a server that stops before its transaction ids wrap around. */
const stop = (table: string, sqlstate: string): string =>
  `CREATE OR REPLACE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS $$
     BEGIN RAISE EXCEPTION 'not accepting writes' USING ERRCODE = '${sqlstate}'; END $$;
   CREATE TRIGGER stop BEFORE INSERT ON ${table} FOR EACH ROW EXECUTE FUNCTION stop()`;

const refused = (line: Record<string, unknown>): boolean =>
  line['sqlstate'] === '54000' && /kept and tried again/.test(String(line['msg']));

void test('a server that takes no rows for a while, with a code that a row can cause as well', async (t) => {
  const server = await sharedPostgres();
  t.after(() => server.stop());

  for (const [table, sqlstate] of [
    ['ticks', '54000'],
    ['vdf_proofs', '23514'],
    ['tick_transactions', 'P0001'],
    ['ingest_ledger', '54000'],
  ] as const) {
    await t.test(`${sqlstate} at ${table}: waited for, and then everything is stored`, async () => {
      const spec = chainSpec({ seed: 93, txs: 1, ticksPerSecond: 400n });
      const env = { BATCH_SIZE: '50' };
      await withIngester(
        { databaseUrl: await server.createDatabase(), spec, count: null, env },
        async (harness) => {
          const client = await harness.client();
          const daemon = harness.daemon();
          await harness.untilPosition(100n, daemon);
          await client.query(stop(table, sqlstate));
          await daemon.logged((line) => line['sqlstate'] === sqlstate && Number(line['attempt']) >= 4);
          const { reasons } = await daemon.untilReady('database');
          assert.deepEqual(reasons, ['database']);
          assert.deepEqual(await deadLetters(client), []);
          await client.query(`DROP TRIGGER stop ON ${table}`);
          await daemon.untilReady('ready');
          await harness.settle(daemon);
          assert.deepEqual(await deadLetters(client), []);
          await harness.compare();
          await harness.check({ hashes: true, atRest: true });
        },
      );
    });
  }

  await t.test('from the first tick on, when nothing is stored that could pass', async () => {
    const spec = chainSpec({ seed: 94, txs: 1 });
    const env = { BATCH_SIZE: '100', FLUSH_INTERVAL: '200ms' };
    await withIngester(
      { databaseUrl: await server.createDatabase(), spec, count: 300, env },
      async (harness) => {
        const client = await harness.client();
        await client.query(stop('ticks', '54000'));
        const daemon = harness.daemon();
        const first = await daemon.logged(refused);
        await daemon.logged((line) => refused(line) && line !== first);
        assert.deepEqual(await deadLetters(client), []);
        await client.query('DROP TRIGGER stop ON ticks');
        await harness.untilCaughtUp(daemon);
        await daemon.untilReady('ready');
        await daemon.stop();
        await harness.verify();
      },
    );
  });

  await t.test('a batch whose first tick is bad on an empty store: the others go first', async () => {
    const spec = chainSpec({ seed: 95, txs: 1 });
    const env = { BATCH_SIZE: '64', FLUSH_INTERVAL: '2s' };
    await withIngester(
      { databaseUrl: await server.createDatabase(), spec, count: 40, env },
      async (harness) => {
        const client = await harness.client();
        await client.query('ALTER TABLE vdf_proofs ADD CHECK (tick_number NOT IN (1, 2, 40))');
        const daemon = harness.daemon();
        await harness.untilCaughtUp(daemon);
        await daemon.stop();
        const letters = await deadLetters(client);
        assert.deepEqual(
          letters.map(({ tick_number, reason }) => [tick_number, reason]),
          [1, 2, 40].map((number) => [`${number}`, 'refused_by_database']),
        );
        await harness.compare({ absent: (number) => [1n, 2n, 40n].includes(number) });
        await harness.check({ hashes: true, atRest: true });
      },
    );
  });
});
