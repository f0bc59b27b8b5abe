import assert from 'node:assert/strict';
import { test } from 'tap';
import { deadLetters, digest } from '../../../support/chain/dead-letters.ts';
import { allTicks, chainSpec, expectedTicks } from '../../../support/chain/content/expected.ts';
import { insertTick } from '../../../support/chain/content/insert-tick.ts';
import { testServers } from '../../../support/servers/postgres.ts';
import { withIngester } from '../../../support/chain/harness.ts';
import { until } from '../../../support/until.ts';
import { wireTick } from '../../../support/chain/content/wire.ts';

const LARGE = { BATCH_SIZE: '500', FLUSH_INTERVAL: '300ms' };

/** A server's message that depends on nothing, for as long as the trigger is there. */
const RAISE = (table: string, errcode: string): string =>
  `CREATE OR REPLACE FUNCTION raise_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
     RAISE EXCEPTION 'out of order' USING errcode = '${errcode}'; END $$;
   CREATE TRIGGER raise_it BEFORE INSERT ON ${table} FOR EACH ROW EXECUTE FUNCTION raise_it()`;

for (const candidate of testServers()) {
  void test(
    `refusals that need a look, on the ${candidate.name} server`,
    { skip: candidate.skip },
    async (t) => {
      const server = await candidate.open();
      t.after(() => server.close());

      await t.test(
        'a tick that somebody inserted: the same one counts as stored, another one is a conflict',
        async () => {
          const spec = chainSpec({ seed: 96, txs: 2 });
          const count = 600;
          const ticks = allTicks(spec, count);
          const equal = [5n, 300n, 301n];
          const other = [400n, 401n];
          await withIngester(
            { databaseUrl: await server.createDatabase(), spec, count, env: LARGE },
            async (harness) => {
              const client = await harness.client();
              for (const number of equal) await insertTick(client, ticks.get(number)!);
              const stored = other.map((number) => {
                const tick = ticks.get(number)!;
                // another time: only vdf_proofs knows that the number is there
                return { ...tick, timestamp: tick.timestamp + 1n, transactions: tick.transactions.slice(1) };
              });
              for (const tick of stored) await insertTick(client, tick);
              const daemon = harness.daemon();
              await harness.untilCaughtUp(daemon);
              await daemon.untilMetric('tick_ingester_ticks_total', { status: 'error' }, other.length);
              await daemon.stop();
              // rows, ledger and dead letters agree: a number whose tick is stored is no dead letter of the ledger
              const { rows } = await client.query(
                `SELECT (SELECT sum(ticks)::int FROM ingest_ledger) AS ledger, (SELECT sum(transactions)::int FROM ingest_ledger) AS ledger_tx,
           (SELECT sum(dead_letters)::int FROM ingest_ledger) AS dead,
           (SELECT count(*)::int FROM ticks) AS ticks, (SELECT count(*)::int FROM tick_transactions) AS tx`,
              );
              assert.deepEqual(rows[0], { ledger: 600, ledger_tx: 1198, dead: 0, ticks: 600, tx: 1198 });
              const found = await deadLetters(client);
              assert.deepEqual(
                found.map((letter) => [
                  letter.tick_number,
                  letter.reason,
                  letter.sqlstate,
                  letter.digest,
                  letter.stored,
                ]),
                other.map((number, at) => [
                  `${number}`,
                  'conflict',
                  '23505',
                  digest(wireTick(ticks.get(number)!)),
                  digest(wireTick(stored[at])),
                ]),
              );
              for (const { detail, digest: own } of found) assert.ok(detail.includes(own), detail);
              assert.deepEqual(
                daemon
                  .lines('The database refuses a tick')
                  .map(({ tick, reason }) => `${tick as number} ${reason as string}`)
                  .sort(),
                [...equal.map((n) => `${n} stored`), ...other.map((n) => `${n} conflict`)].sort(),
              );
              assert.equal(await harness.position(), harness.last);
            },
          );
        },
      );

      await t.test('a transaction that is there without its tick: the tick is refused', async () => {
        const spec = chainSpec({ seed: 97, txs: 1 });
        const count = 300;
        const tick = [...expectedTicks(spec, count)][149];
        await withIngester(
          { databaseUrl: await server.createDatabase(), spec, count, env: LARGE },
          async (harness) => {
            const client = await harness.client();
            await insertTick(client, tick);
            await client.query('DELETE FROM ticks; DELETE FROM vdf_proofs');
            const daemon = harness.daemon();
            await harness.untilCaughtUp(daemon);
            await daemon.stop();
            const found = await deadLetters(client);
            assert.deepEqual(
              found.map((letter) => [letter.tick_number, letter.reason, letter.sqlstate, letter.digest]),
              [['150', 'refused_by_database', '23505', digest(wireTick(tick))]],
            );
            const { rows } = await client.query('SELECT count(*)::int AS n FROM ticks');
            assert.equal(rows[0].n, count - 1);
          },
        );
      });

      await t.test('a range of which the ledger has a part already is stored without it', async () => {
        const spec = chainSpec({ seed: 98, txs: 1 });
        const count = 400;
        const ticks = [...expectedTicks(spec, count)];
        // a position of 0 at first, so that the reader begins below; then the ledger gets its row behind its back
        await withIngester(
          {
            databaseUrl: await server.createDatabase(),
            spec,
            count,
            env: LARGE,
            sim: ['--fault', 'stall-all:2:3000'],
          },
          async (harness) => {
            const client = await harness.client();
            const daemon = harness.daemon();
            await harness.untilPosition(1n, daemon);
            for (const tick of ticks.slice(1, 5)) await insertTick(client, tick);
            await client.query(
              'INSERT INTO ingest_ledger (first_tick, last_tick, epoch, ticks, transactions) SELECT 2, 5, epoch, 4, 4 FROM ingest_state',
            );
            await harness.untilCaughtUp(daemon);
            await daemon.stop();
            assert.deepEqual(await deadLetters(client), []);
            assert.equal((await harness.verify()).ticks, count);
          },
        );
      });

      await t.test(
        'errors that do not depend on the ticks fill no dead letters and pass by themselves',
        async () => {
          const spec = chainSpec({ seed: 99, txs: 1, ticksPerSecond: 500n });
          const cases: { reason: string; table: string; code: string }[] = [
            ...['53100', '53200', '25006', '40001', '57014', '58030', 'XX000'].map((code) => ({
              reason: 'database',
              table: 'vdf_proofs',
              code,
            })),
            ...['42501', '42P01', '0A000', '22P03'].map((code) => ({
              reason: 'schema',
              table: 'ticks',
              code,
            })),
            // what a row can cause as well, but here no row is at fault
            { reason: 'database', table: 'ingest_ledger', code: '23514' },
            { reason: 'database', table: 'ingest_ledger', code: '22003' },
          ];
          const databaseUrl = await server.createDatabase();
          await withIngester({ databaseUrl, spec, count: null, env: LARGE }, async (harness) => {
            const client = await harness.client();
            const daemon = harness.daemon();
            const retries = (): Promise<number> => daemon.metric('retries_total', { component: 'writer' });
            await daemon.untilReady('ready');
            for (const { reason, table, code } of cases) {
              const before = await retries();
              await client.query(RAISE(table, code));
              await daemon.untilReady(reason);
              await until('it has tried again', async () => (await retries()) >= before + 2);
              await client.query(`DROP TRIGGER raise_it ON ${table}`);
              await daemon.untilReady('ready');
              assert.deepEqual(await deadLetters(client), [], code);
            }
            await harness.settle(daemon);
            assert.equal((await harness.verify()).ticks, harness.count);
          });
        },
      );

      await t.test('a dead letter that cannot be written is waited for, and nothing is lost', async () => {
        const spec = chainSpec({ seed: 100, txs: 1 });
        const count = 300;
        await withIngester(
          { databaseUrl: await server.createDatabase(), spec, count, env: LARGE },
          async (harness) => {
            const client = await harness.client();
            await client.query(
              `ALTER TABLE ticks ADD CHECK (tick_number <> 150); ${RAISE('dead_letters', '23514')}`,
            );
            const daemon = harness.daemon();
            const { reasons } = await daemon.untilReady('database');
            assert.deepEqual(reasons, ['database']);
            await until('those below are stored', async () => (await harness.position()) === 149n);
            assert.deepEqual(await deadLetters(client), []);
            await client.query('DROP TRIGGER raise_it ON dead_letters');
            await harness.untilCaughtUp(daemon);
            await daemon.untilReady('ready');
            await daemon.stop();
            assert.deepEqual(
              (await deadLetters(client)).map((letter) => [letter.tick_number, letter.reason]),
              [['150', 'refused_by_database']],
            );
            await harness.compare({ absent: (number) => number === 150n });
            await harness.check({ hashes: true, atRest: true });
          },
        );
      });
    },
  );
}
