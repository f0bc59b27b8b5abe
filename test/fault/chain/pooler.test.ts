import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'tap';
import { countMarket } from '../../../src/store/market/counts.ts';
import { migrate } from '../../../src/store/schema/migrate.ts';
import { chainSpec } from '../../support/chain/content/expected.ts';
import { withIngester } from '../../support/chain/harness.ts';
import { runCommand } from '../../support/run/command.ts';
import { scaled } from '../../support/scale.ts';
import { noPgbouncer, startPgbouncer } from '../../support/servers/pgbouncer.ts';
import { startPostgres, type TestPostgres } from '../../support/servers/postgres.ts';
import { until } from '../../support/until.ts';

let postgres: TestPostgres | null = null;
after(() => postgres?.stop());

const COMMANDS = [
  ['tick-ingester', 'status'],
  ['tick-ingester', 'verify', '--vdf', 'off'],
  ['mdp', 'quality'],
  ['mdp', 'db', 'status'],
  ['mdp', 'db', 'migrate'],
  ['mdp', 'dlq', 'list'],
  ['mdp', 'stream', 'groups'],
  ['mdp', 'stream', 'tail', '--limit', '1'],
] as const;

void test(
  'every stage and command through a pooler of transactions, killed twice',
  { skip: noPgbouncer() },
  async (t) => {
    postgres = await startPostgres({ settings: { synchronous_commit: 'on' } });
    const databaseUrl = await postgres.createDatabase();
    const pooler = await startPgbouncer(databaseUrl, { poolMode: 'transaction', poolSize: 16 });
    t.teardown(() => pooler.stop());
    const folder = await mkdtemp(join(tmpdir(), 'tick-pooler-'));
    t.teardown(() => rm(folder, { recursive: true, force: true }));
    const config = join(folder, 'streaming.yaml');
    await writeFile(config, 'version: 1\nbus:\n  type: postgres\n');
    const env = {
      DATABASE_URL: pooler.url(databaseUrl),
      STREAMING_CONFIG: config,
      STAGES: 'ingest,orders,ticks,bars',
      METRICS_PORT: '0',
    };
    const count = scaled(6_000, 200_000);
    await withIngester({ databaseUrl, spec: chainSpec({ seed: 5 }), count, env }, async (harness) => {
      const client = await harness.client();
      await migrate(client);
      for (const share of [0.25, 0.6]) {
        const daemon = harness.daemon();
        await harness.untilPosition(harness.spec.first + BigInt(Math.floor(count * share)), daemon);
        daemon.kill('SIGKILL');
        await daemon.exited;
      }
      const daemon = harness.daemon();
      await harness.untilCaughtUp(daemon);
      await daemon.untilReady('ready');
      t.equal(daemon.log.filter(({ msg }) => /pool_mode = session\) is needed/.test(msg)).length, 1);
      const market = () => countMarket(client, '2s');
      await until(
        'all orders are ticks, in bars',
        async () => {
          const { orders, ordersStored, inBars } = await market();
          return ordersStored === orders && inBars > 0;
        },
        {
          context: async () => `${JSON.stringify(await market())}\n${daemon.tail()}`,
          progress: async () => (await market()).ordersStored,
        },
      );
      t.ok((await market()).orders > 0);
      t.equal((await market()).deadLetters, 0);
      for (const [program, ...args] of COMMANDS) {
        const { code, stderr, stdout } = await runCommand(program, args, harness.environment());
        t.equal(code, 0, `${program} ${args.join(' ')}\n${stdout}\n${stderr}`);
      }
      await daemon.stop();
      t.equal(daemon.exit?.code, 0);
      const compared = await harness.verify();
      t.equal(compared.ticks, count);
      // nothing of ours is left on the pooler's connections
      const { rows } = await client.query(
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
      );
      t.same(rows, []);
    });
  },
);
