import assert from 'node:assert/strict';
import { test } from 'tap';
import { sessionsGone } from '../../../support/chain/daemon.ts';
import { deadLetters, digest } from '../../../support/chain/dead-letters.ts';
import { allTicks, chainSpec } from '../../../support/chain/content/expected.ts';
import { testServers } from '../../../support/servers/postgres.ts';
import { withIngester, type IngestHarness } from '../../../support/chain/harness.ts';
import { until } from '../../../support/until.ts';
import { malformed, wireTick } from '../../../support/chain/content/wire.ts';

/** Exactly these ticks are dead letters, each once with its bytes; all others are stored. */
async function assertRefused(
  harness: IngestHarness,
  refused: readonly bigint[],
  sqlstate: string,
): Promise<void> {
  const compared = await harness.compare({ absent: (number) => refused.includes(number) });
  assert.equal(compared.ticks, harness.count - refused.length);
  await harness.check({ hashes: true, atRest: true });
  const ticks = allTicks(harness.spec, harness.count);
  const letters = await deadLetters(await harness.client());
  assert.deepEqual(
    letters.map((letter) => [
      letter.tick_number,
      letter.reason,
      letter.sqlstate,
      letter.digest,
      letter.status,
    ]),
    refused
      .toSorted((a, b) => (a < b ? -1 : 1))
      .map((number) => [
        `${number}`,
        'refused_by_database',
        sqlstate,
        digest(wireTick(ticks.get(number)!)),
        'open',
      ]),
  );
  for (const { detail } of letters) assert.ok(detail.length > 0 && detail.length < 600, detail);
  assert.equal(await harness.position(), harness.last);
}

const isBad = (number: bigint): boolean => number % 40n === 0n;
const inList = (numbers: readonly bigint[]): string => numbers.join(', ');
/** one large batch, or several when the reader is ahead */
const LARGE = { BATCH_SIZE: '500', FLUSH_INTERVAL: '300ms' };

for (const candidate of testServers()) {
  void test(
    `ticks that the database refuses, on the ${candidate.name} server`,
    { skip: candidate.skip },
    async (t) => {
      const server = await candidate.open();
      t.after(() => server.close());

      await t.test(
        'the first, the last, some in the middle, neighbours: dead letters, and only those',
        async () => {
          const spec = chainSpec({ seed: 91, txs: 2 });
          const refused = [1n, 2n, 250n, 251n, 252n, 500n, 501n, 777n, 1_500n];
          const count = 1_500;
          await withIngester(
            { databaseUrl: await server.createDatabase(), spec, count, env: LARGE },
            async (harness) => {
              const client = await harness.client();
              await client.query(
                `ALTER TABLE vdf_proofs ADD CHECK (tick_number NOT IN (${inList(refused)}))`,
              );
              const daemon = harness.daemon();
              await harness.untilCaughtUp(daemon);
              await daemon.untilMetric('tick_ingester_ticks_total', { status: 'error' }, refused.length);
              await daemon.untilReady('ready');
              await daemon.stop();
              await assertRefused(harness, refused, '23514');
              const lines = daemon.lines('The database refuses a tick');
              assert.deepEqual(
                lines
                  .map(({ level, tick, sqlstate }) => `${level} ${tick as number} ${sqlstate as string}`)
                  .sort(),
                refused.map((number) => `error ${number} 23514`).sort(),
              );
              // those between two refused ones are stored once all the same
              assert.equal(daemon.ticksWritten, count - refused.length);
            },
          );
        },
      );

      await t.test(
        'by a transaction of theirs, by an exception of a trigger, by a deferred one at the COMMIT',
        async () => {
          const spec = chainSpec({ seed: 92, txs: 1 });
          const kinds: { sqlstate: string; sql: (refused: readonly bigint[]) => string }[] = [
            {
              sqlstate: '23514',
              sql: (refused) =>
                `ALTER TABLE tick_transactions ADD CHECK (tick_number NOT IN (${inList(refused)}))`,
            },
            {
              sqlstate: 'P0001',
              sql: (refused) => `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.tick_number IN (${inList(refused)}) THEN RAISE EXCEPTION 'not tick %', NEW.tick_number; END IF;
            RETURN NEW; END $$;
          CREATE TRIGGER refuse BEFORE INSERT ON ticks FOR EACH ROW EXECUTE FUNCTION refuse()`,
            },
            {
              sqlstate: '23503',
              sql: (
                refused,
              ) => `CREATE TABLE allowed AS SELECT n FROM generate_series(1, 700) n WHERE n NOT IN (${inList(refused)});
          ALTER TABLE allowed ALTER n TYPE bigint, ADD PRIMARY KEY (n);
          ALTER TABLE ticks ADD FOREIGN KEY (tick_number) REFERENCES allowed DEFERRABLE INITIALLY DEFERRED`,
            },
          ];
          for (const { sqlstate, sql } of kinds) {
            const refused = [17n, 340n, 700n];
            await withIngester(
              { databaseUrl: await server.createDatabase(), spec, count: 700, env: LARGE },
              async (harness) => {
                await (await harness.client()).query(sql(refused));
                const daemon = harness.daemon();
                await harness.untilCaughtUp(daemon);
                await daemon.stop();
                await assertRefused(harness, refused, sqlstate);
              },
            );
          }
        },
      );

      await t.test('all of a batch; and the daemon is killed again and again meanwhile', async (t) => {
        const spec = chainSpec({ seed: 93, txs: 0 });
        const refused = Array.from({ length: 260 }, (_, at) => 300n + BigInt(at));
        const count = 900;
        await withIngester(
          { databaseUrl: await server.createDatabase(), spec, count, env: { ...LARGE, BATCH_SIZE: '250' } },
          async (harness) => {
            const client = await harness.client();
            await client.query(`ALTER TABLE ticks ADD CHECK (tick_number NOT BETWEEN 300 AND 559)`);
            let kills = 0;
            for (const letters of [1, 40, 100, 180, 259]) {
              const daemon = harness.daemon();
              await until(`${letters} dead letters`, async () => {
                assert.equal(daemon.exit, null, daemon.tail());
                const { rows } = await client.query<{ n: string }>('SELECT count(*) AS n FROM dead_letters');
                return Number(rows[0].n) >= letters;
              });
              daemon.kill('SIGKILL');
              await daemon.exited;
              await sessionsGone(client);
              await harness.check();
              kills += 1;
            }
            const daemon = harness.daemon();
            await harness.untilCaughtUp(daemon);
            await daemon.stop();
            await assertRefused(harness, refused, '23514');
            t.comment(`${kills} kills`);
          },
        );
      });

      await t.test(
        'beside frames without a number, behind a gap, and in a batch that fills one',
        async () => {
          const spec = chainSpec({ seed: 94, txs: 1 });
          const count = 400;
          // 40, 80 …: malformed and without a number, so each is a gap; 25, 50 …: late, so each is a gap that is filled
          const sim = ['--fault', 'malformed-forever:40:wire-type', '--fault', 'swap:25'];
          const env = { ...LARGE, REORDER_WINDOW_TICKS: '0' };
          const refused = [24n, 25n, 39n, 41n, 42n, 75n, 81n, 99n, 100n, 101n, 399n];
          await withIngester(
            { databaseUrl: await server.createDatabase(), spec, count, sim, env },
            async (harness) => {
              const client = await harness.client();
              await client.query(`ALTER TABLE ticks ADD CHECK (tick_number NOT IN (${inList(refused)}))`);
              const daemon = harness.daemon();
              // the last is missing: its frame has no number, and nothing comes behind it
              await harness.untilPosition(399n, daemon);
              await daemon.untilMetric('tick_ingester_ticks_total', { status: 'error' }, refused.length + 10);
              await daemon.stop();
              await harness.compare({ absent: (number) => refused.includes(number) || isBad(number) });
              const { openGaps } = await harness.check({ hashes: true, atRest: true });
              assert.deepEqual(
                openGaps,
                Array.from({ length: 9 }, (_, at) => BigInt(40 * (at + 1))).map((n) => ({
                  first: n,
                  last: n,
                })),
              );
              const ticks = allTicks(spec, count);
              const letters = await deadLetters(client);
              const expected = Array.from({ length: count }, (_, at) => BigInt(at + 1)).flatMap((number) => {
                const tick = ticks.get(number)!;
                if (isBad(number)) return [[null, 'malformed_frame', digest(malformed(tick, 'wire-type'))]];
                return refused.includes(number)
                  ? [[`${number}`, 'refused_by_database', digest(wireTick(tick))]]
                  : [];
              });
              assert.deepEqual(
                letters.map((letter) => [letter.tick_number, letter.reason, letter.digest]),
                expected,
              );
            },
          );
        },
      );

      await t.test('a writer thread dies in the middle', async () => {
        const spec = chainSpec({ seed: 95, txs: 0 });
        const count = 700;
        const refused = Array.from({ length: 100 }, (_, at) => BigInt(7 * (at + 1)));
        await withIngester(
          { databaseUrl: await server.createDatabase(), spec, count, env: LARGE },
          async (harness) => {
            const client = await harness.client();
            await client.query('ALTER TABLE ticks ADD CHECK (tick_number % 7 <> 0)');
            const daemon = harness.daemon({ killableThreads: true });
            for (const [letters, thread] of [
              [10, 'writer-0'],
              [30, 'parser'],
              [50, 'writer-1'],
            ] as const) {
              await until(`${letters} dead letters`, async () => {
                const { rows } = await client.query<{ n: string }>('SELECT count(*) AS n FROM dead_letters');
                return Number(rows[0].n) >= letters;
              });
              daemon.killThread(thread);
            }
            await harness.untilCaughtUp(daemon);
            await until('the ring is empty', async () => (await daemon.ready())?.details.ring?.slabs === 0);
            await daemon.stop();
            await assertRefused(harness, refused, '23514');
          },
        );
      });
    },
  );
}
