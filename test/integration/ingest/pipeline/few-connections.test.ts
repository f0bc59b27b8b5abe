import assert from 'node:assert/strict';
import { test } from 'tap';
import { chainSpec } from '../../../support/chain/content/expected.ts';
import { withIngester } from '../../../support/chain/harness.ts';
import { noPgbouncer, startPgbouncer } from '../../../support/servers/pgbouncer.ts';
import { sharedPostgres } from '../../../support/servers/postgres.ts';

const grants = (role: string): string =>
  `CREATE ROLE ${role} LOGIN PASSWORD 'secret-of-the-role';
   GRANT ALL ON ALL TABLES IN SCHEMA public TO ${role}; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO ${role}`;

void test('only some of the planned connections can be had', async (t) => {
  const server = await sharedPostgres();
  t.after(() => server.stop());

  /** A role of its own on a new database, which it may use. */
  const prepare = async (role: string): Promise<{ databaseUrl: string; env: Record<string, string> }> => {
    const databaseUrl = await server.createDatabase();
    const own = new URL(databaseUrl);
    own.username = role;
    own.password = 'secret-of-the-role';
    return { databaseUrl, env: { DATABASE_URL: own.href, DB_MIN_CONNECTIONS: '10', BATCH_SIZE: '50' } };
  };
  await t.test('a limit that comes later: what one writer cannot send the others do', async () => {
    const { databaseUrl, env } = await prepare('few');
    const spec = chainSpec({ seed: 61, txs: 1, ticksPerSecond: 2000n });
    await withIngester({ databaseUrl, spec, count: null, env }, async (harness) => {
      const client = await harness.client();
      await client.query(grants('few'));
      const daemon = harness.daemon();
      await harness.untilPosition(250n, daemon);
      // the lease, the housekeeping and one writer
      await client.query('ALTER ROLE few CONNECTION LIMIT 3');
      const isRefused = (): boolean =>
        daemon.log.some(
          ({ msg, error }) =>
            /gets no connection; the others write/.test(msg) &&
            /too many connections for role "few"/.test(String(error)),
        );
      // whether the second writer is needed at the moment is a matter of load
      for (let turn = 0; turn < 4 || (turn < 100 && !isRefused()); turn += 1) {
        await client.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'few'`);
        await harness.untilItGoesOn(daemon);
      }
      assert.ok(isRefused(), daemon.tail());
      await daemon.untilReady('ready');
      await harness.settle(daemon);
      assert.equal(daemon.exit?.code, 0);
      await harness.compare();
    });
  });

  await t.test(
    'a pooler with three sessions: a writer waits in its queue, and no batch with it',
    {
      skip: noPgbouncer(),
    },
    async () => {
      const databaseUrl = await server.createDatabase();
      const pooler = await startPgbouncer(databaseUrl, { poolMode: 'session', poolSize: 3 });
      const env = { DATABASE_URL: `${pooler.url(databaseUrl)}&connect_timeout=2`, DB_MIN_CONNECTIONS: '10' };
      const spec = chainSpec({ seed: 63, txs: 1, ticksPerSecond: 2000n });
      try {
        await withIngester(
          { databaseUrl, spec, count: null, env: { ...env, BATCH_SIZE: '50' } },
          async (harness) => {
            const client = await harness.client();
            // with another default, each connection needs a second one for a moment, to find out the pool mode
            await client.query('ALTER ROLE postgres SET synchronous_commit = on');
            const daemon = harness.daemon();
            await harness.untilPosition(250n, daemon);
            await daemon.logged(({ msg }) => /gets no connection; the others write/.test(msg));
            await harness.untilItGoesOn(daemon);
            await daemon.untilReady('ready');
            await harness.settle(daemon);
            assert.equal(daemon.exit?.code, 0);
            await harness.compare();
          },
        );
      } finally {
        await pooler.stop();
      }
    },
  );

  await t.test('a limit that the server tells is named at the start', async () => {
    const { databaseUrl, env } = await prepare('named');
    await withIngester({ databaseUrl, spec: chainSpec({ seed: 62 }), count: 500, env }, async (harness) => {
      const client = await harness.client();
      await client.query(grants('named'));
      await client.query('ALTER ROLE named CONNECTION LIMIT 3');
      const daemon = harness.daemon();
      await daemon.logged(({ msg }) => /allows \(3, CONNECTION LIMIT of the role named\); using 3/.test(msg));
      const { writers } = await daemon.logged(({ msg }) => msg === 'Threads');
      assert.equal(writers, 1);
      await harness.untilCaughtUp(daemon);
      await daemon.stop();
      assert.equal(daemon.exit?.code, 0);
      await harness.verify();
    });
  });
});
