import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { after, test, type Test } from 'tap';
import type { Client } from 'pg';
import type { Env } from '../../../../src/core/env.ts';
import { systemClock } from '../../../../src/core/time.ts';
import { retentionRounds, type RetentionOptions } from '../../../../src/run/upkeep/retention.ts';
import type { Rounds } from '../../../../src/run/upkeep/rounds.ts';
import type { Dropped } from '../../../../src/store/retention/round.ts';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { migrate } from '../../../../src/store/schema/migrate.ts';
import { tryRetentionLock } from '../../../../src/store/retention/round.ts';
import { startDaemon } from '../../../support/chain/daemon.ts';
import { sharedPostgres, testServers, type SharedPostgres } from '../../../support/servers/postgres.ts';
import { until } from '../../../support/until.ts';

const DAY_MS = 86_400_000;

let postgres: SharedPostgres | null = null;
after(() => postgres?.stop());

interface Told {
  level: string;
  message: string;
  fields: object;
}

interface Harness {
  url: string;
  client: Client;
  told: Told[];
  failures: () => number;
  retention(changes?: Partial<RetentionOptions>): Rounds<Dropped>;
}

async function harnessOf(t: Test, url: string, { schema = true } = {}): Promise<Harness> {
  const client = await connect(parseDatabaseUrl(url), { applicationName: 'test' });
  t.teardown(() => client.end());
  if (schema) {
    await migrate(client);
    // ten days ago to now, a tick an hour
    await client.query(
      `INSERT INTO tick_data (provider, symbol, price, ts)
       SELECT 'p', 'S', 1, now() - n * interval '1 hour' FROM generate_series(0, 239) n`,
    );
  }
  const told: Told[] = [];
  let failures = 0;
  const env: Env = {
    log: (level, message, fields) => void told.push({ level, message, fields }),
    clock: systemClock,
    random: Math.random,
  };
  return {
    url,
    client,
    told,
    failures: () => failures,
    retention: (changes) =>
      retentionRounds({
        ages: { chainMs: null, tickDataMs: 3 * DAY_MS, barsMs: null, signalsMs: null, mdTicksMs: null },
        reviseHorizonMs: DAY_MS,
        connect: () => connect(parseDatabaseUrl(url), { applicationName: 'test retention' }),
        env,
        intervalMs: 50,
        failed: () => (failures += 1),
        ...changes,
      }),
  };
}

async function runs({ client }: Harness): Promise<unknown[]> {
  const { rows } = await client.query<Record<string, unknown>>(
    `SELECT job_name, status, error_message, metadata, completed_at >= started_at AS ended FROM job_runs ORDER BY id`,
  );
  return rows;
}

async function count({ client }: Harness): Promise<number> {
  return (await client.query<{ n: number }>('SELECT count(*)::int AS n FROM tick_data')).rows[0].n;
}

async function database(): Promise<string> {
  postgres ??= await sharedPostgres();
  return postgres.createDatabase();
}

void test('a round that drops leaves a row of job_runs and a line; one that does not leaves neither', async (t) => {
  const harness = await harnessOf(t, await database());
  const retention = harness.retention();
  t.equal(await retention.round(), 'done');
  const [run] = (await runs(harness)) as { metadata: { dropped: { tick_data: { rows: number } } } }[];
  t.match(run, { job_name: 'retention', status: 'success', error_message: null, ended: true });
  const { rows } = run.metadata.dropped.tick_data;
  t.ok(rows > 0);
  t.equal(await count(harness), 240 - rows);
  t.match(harness.told, [
    {
      level: 'info',
      message: 'Retention dropped what is old',
      fields: { dropped: [{ table: 'tick_data', rows }] },
    },
  ]);
  t.equal(await retention.round(), 'done');
  t.equal((await runs(harness)).length, 1);
  t.equal(harness.told.length, 1);
});

void test('one at a time: who finds another one at it leaves it alone', async (t) => {
  const harness = await harnessOf(t, await database());
  t.equal(await tryRetentionLock(harness.client), true);
  t.equal(await harness.retention().round(), 'done');
  t.equal(await count(harness), 240);
  await harness.client.query('SELECT pg_advisory_unlock_all()');
  await Promise.all([harness.retention().round(), harness.retention().round(), harness.retention().round()]);
  t.equal((await runs(harness)).length, 1);
});

void test('it begins at the start and goes on by its interval, also after failures, which are counted', async (t) => {
  const harness = await harnessOf(t, await database());
  let attempts = 0;
  const retention = harness.retention({
    connect: async () => {
      attempts += 1;
      if (attempts <= 2) throw new Error('the database is away');
      return connect(parseDatabaseUrl(harness.url), { applicationName: 'test retention' });
    },
  });
  retention.start();
  await until('a run is recorded', async () => ((await runs(harness)).length === 1 ? true : null));
  await until('it goes on', () => (attempts > 4 ? true : null));
  await retention.stop();
  const before = attempts;
  await delay(150);
  t.equal(attempts, before, 'stopped');
  t.equal(harness.failures(), 2);
  t.match(harness.told[0], {
    level: 'warn',
    message: 'Retention failed (will try again)',
    fields: { part: 'all' },
  });
});

void test('without its schema it waits', async (t) => {
  postgres ??= await sharedPostgres();
  const harness = await harnessOf(t, await postgres.createDatabase(undefined, { schema: false }), {
    schema: false,
  });
  t.equal(await harness.retention().round(), 'not ready');
  t.equal(harness.failures(), 0);
  t.strictSame(harness.told, []);
});

void test('stop ends a round that waits', async (t) => {
  const harness = await harnessOf(t, await database());
  await harness.client.query('BEGIN; LOCK TABLE tick_data');
  const retention = harness.retention();
  retention.start();
  await until('it waits for the table', async () =>
    (
      await harness.client.query(
        `SELECT FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
      )
    ).rowCount === 1
      ? true
      : null,
  );
  await retention.stop();
  await harness.client.query('ROLLBACK');
  t.equal(harness.failures(), 0, 'a shutdown is no failure');
  t.equal(await count(harness), 240);
});

void test('what holds back is told once, until it is gone', async (t) => {
  const harness = await harnessOf(t, await database());
  await harness.client.query(
    `INSERT INTO bars_watermarks (topic, group_name, partition, replay_run_id, provider, symbol, max_ts, closed_end)
     VALUES ('e', 'g', 0, 0, 'p', 'S', now() - interval '5 days', now())`,
  );
  const retention = harness.retention();
  for (let round = 0; round < 3; round++) await retention.round();
  const warnings = (): Told[] => harness.told.filter(({ level }) => level === 'warn');
  t.match(warnings(), [
    { message: 'Retention keeps what is older than asked for', fields: { what: 'tick_data' } },
  ]);
  await harness.client.query('UPDATE bars_watermarks SET max_ts = now()');
  await retention.round();
  t.equal(warnings().length, 1);
  t.ok((await count(harness)) < 240 - 3 * 24);
});

for (const server of testServers().filter(({ name }) => name === 'timescale')) {
  void test(
    'a reader that holds a chunk stops its part alone, for half a second',
    { skip: server.skip },
    async (t) => {
      const opened = await server.open();
      t.teardown(() => opened.close());
      const harness = await harnessOf(t, await opened.createDatabase());
      const reader = await connect(parseDatabaseUrl(harness.url), { applicationName: 'test reader' });
      t.teardown(() => reader.end());
      await reader.query('BEGIN; SELECT count(*) FROM tick_data');
      const retention = harness.retention();
      t.equal(await retention.round(), 'failed');
      t.equal(harness.failures(), 1);
      t.match(harness.told, [{ level: 'warn', fields: { part: 'tick_data', err: { code: '55P03' } } }]);
      // who writes into the newest chunk is in nobody's way
      await reader.query(
        "COMMIT; BEGIN; INSERT INTO tick_data (provider, symbol, price, ts) VALUES ('p', 'T', 1, now())",
      );
      t.equal(await retention.round(), 'done');
      await reader.query('COMMIT');
      t.match(await runs(harness), [
        { status: 'success', metadata: { dropped: { tick_data: { chunks: /^[67]$/ } } } },
      ]);
    },
  );
}

void test('the daemon drops at its start, and refuses ages that late bars need', async (t) => {
  const harness = await harnessOf(t, await database());
  const folder = await mkdtemp(join(tmpdir(), 'tick-retention-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const streaming = join(folder, 'streaming.yaml');
  await writeFile(streaming, 'version: 1\nbus:\n  type: postgres\n');
  const env = { STAGES: 'ticks', DATABASE_URL: harness.url, METRICS_PORT: '0', STREAMING_CONFIG: streaming };
  const tooShort = startDaemon({ env: { ...env, RETENTION_TICK_DATA: '47h', RETENTION_BARS: '3d' } });
  t.equal((await tooShort.exited).code, 2);
  t.match(tooShort.stderr, 'RETENTION_TICK_DATA is below 48h');
  t.notMatch(tooShort.stderr, 'RETENTION_BARS');

  const daemon = startDaemon({ env: { ...env, RETENTION_TICK_DATA: '3d' } });
  t.teardown(() => daemon.end());
  await until('it dropped', async () => ((await runs(harness)).some(isRetention) ? true : null), {
    deadlineMs: 30_000,
    context: () => daemon.tail(),
  });
  t.ok((await count(harness)) < 240);
});

function isRetention(run: unknown): boolean {
  return (run as { job_name: string }).job_name === 'retention';
}
