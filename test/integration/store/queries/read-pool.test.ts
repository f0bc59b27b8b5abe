import { test, type Test } from 'tap';
import type { Client } from 'pg';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { readBatches, readPage, type Query } from '../../../../src/store/queries/query.ts';
import {
  BusyError,
  ReadPool,
  readFailure,
  StalledError,
  type ReadPoolOptions,
} from '../../../../src/store/queries/read-pool.ts';
import { startPostgres, type TestPostgres } from '../../../support/servers/postgres.ts';
import { until } from '../../../support/until.ts';

/** So many numbers; a few MB of rows for each 100,000. */
function numbers(count: number, sql = 'n'): Query {
  return {
    columns: [
      { name: 'n', type: 'int64' },
      { name: 'text', type: 'text' },
    ],
    sql: `SELECT (${sql})::bigint AS n, repeat('x', 40) AS text FROM generate_series(1, ${count}) n`,
  };
}

/** The numbers of all rows; their sum is enough. */
async function sumOf(
  batches: AsyncIterable<{ rows: number; value(c: number, r: number): unknown }>,
): Promise<bigint> {
  let sum = 0n;
  for await (const batch of batches)
    for (let row = 0; row < batch.rows; row += 1) sum += batch.value(0, row) as bigint;
  return sum;
}

function one(client: Client): Promise<unknown> {
  return client.query<{ it: number }>('SELECT 1 AS it').then(({ rows }) => rows[0].it);
}

void test('the pool of reading sessions', async (t) => {
  const postgres: TestPostgres = await startPostgres();
  t.after(() => postgres.stop());
  const url = await postgres.createDatabase();
  const admin = await connect(parseDatabaseUrl(url), { applicationName: 'admin' });
  t.after(() => admin.end().catch(() => {}));

  const open = (t: Test, options: Partial<ReadPoolOptions> = {}): ReadPool => {
    const pool = new ReadPool({ databaseUrl: url, ...options });
    t.after(() => pool.close());
    return pool;
  };
  const sessions = async (like: string): Promise<string[]> => {
    const { rows } = await admin.query<{ state: string }>(
      `SELECT coalesce(wait_event, state) AS state FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE $1`,
      [like],
    );
    return rows.map(({ state }) => state);
  };

  await t.test('a session is opened when it is needed, and cannot write', async (t) => {
    const pool = open(t, { applicationName: 'lazy' });
    t.strictSame(await sessions('lazy%'), []);
    t.equal(await pool.run(one), 1);
    t.equal((await sessions('lazy%')).length, 1, 'one of them is enough');
    await t.rejects(
      pool.run((client) => client.query('CREATE TABLE something (n int)')),
      { code: '25006' },
    );
    t.equal(await pool.run(one), 1);
  });

  await t.test('who comes when all are taken waits, up to a number and up to a time', async (t) => {
    const pool = open(t, { sessionsMax: 1, waitingMax: 1 });
    const held = Promise.withResolvers<void>();
    const first = pool.run(async () => held.promise);
    const second = pool.run(one);
    const refused = await pool.run(one).catch((error: unknown) => error);
    t.ok(refused instanceof BusyError);
    t.equal(readFailure(refused), 'busy');
    held.resolve();
    await first;
    t.equal(await second, 1);

    const impatient = open(t, { sessionsMax: 1, waitMsMax: 20 });
    const holding = Promise.withResolvers<void>();
    const holder = impatient.run(async () => holding.promise);
    await t.rejects(impatient.run(one), BusyError);
    holding.resolve();
    await holder;
    t.equal(await impatient.run(one), 1, 'who has left gets no session');
    t.equal(await impatient.run(one), 1);
  });

  await t.test('a query that takes too long is ended by the server', async (t) => {
    const pool = open(t, { statementMsMax: 500 });
    const error = await pool.run((client) => client.query('SELECT pg_sleep(600)')).catch((e: unknown) => e);
    t.equal(readFailure(error), 'timeout');
    t.equal(await pool.run(one), 1);
  });

  await t.test('all rows are streamed, and the session is free again, read to the end or not', async (t) => {
    const pool = open(t, { streamsMax: 1 });
    const count = 100_000n;
    const stream = (): AsyncGenerator<Awaited<ReturnType<typeof readPage>>['batch']> =>
      pool.stream((client) => readBatches(client, numbers(Number(count))));
    t.equal(await sumOf(stream()), (count * (count + 1n)) / 2n);
    for await (const batch of stream()) {
      t.ok(batch.rows > 0);
      break;
    }
    t.equal(await sumOf(stream()), (count * (count + 1n)) / 2n);
    t.strictSame((await pool.run((client) => readPage(client, numbers(3), 2))).hasMore, true);
  });

  await t.test(
    'nobody takes the rows: the server waits, and after a time the session is ended',
    async (t) => {
      const pool = open(t, { streamsMax: 1, stallMsMax: 300, applicationName: 'stalled' });
      const rows = pool.stream((client) => readBatches(client, numbers(20_000_000)));
      await rows.next();
      await until(
        'the server waits for its reader',
        async () => (await sessions('stalled streams')).includes('ClientWrite'),
        {
          pollMs: 1,
        },
      );
      await until('the session is ended', async () => (await sessions('stalled streams')).length === 0);
      const other = await pool.stream((client) => readBatches(client, numbers(1))).next();
      t.equal(other.done, false, 'another one has the session');
      await t.rejects(sumOf(rows), StalledError);
    },
  );

  await t.test('rows that fail half way fail their reader', async (t) => {
    const pool = open(t, { streamsMax: 1 });
    const failing = numbers(200_000, '1 / (150000 - n)');
    await t.rejects(sumOf(pool.stream((client) => readBatches(client, failing))), { code: '22012' });
    t.equal(await sumOf(pool.stream((client) => readBatches(client, numbers(2)))), 3n);
  });

  await t.test('the server is started again: the next query is answered', async (t) => {
    const pool = open(t, { sessionsMax: 1, applicationName: 'restarted' });
    t.equal(await pool.run(one), 1);
    await admin.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'restarted%'`,
    );
    t.equal(await pool.run(one), 1);
    await admin.end();
    await postgres.halt();
    const away = await pool.run(one).catch((error: unknown) => error);
    t.equal(readFailure(away), 'unavailable');
    await postgres.start();
    t.equal(await pool.run(one), 1);
  });

  await t.test('what is closed fails what is under way', async (t) => {
    const pool = open(t);
    const rows = pool.stream((client) => readBatches(client, numbers(20_000_000)));
    await rows.next();
    const query = pool.run((client) => client.query('SELECT pg_sleep(600)')).catch((error: unknown) => error);
    await pool.close();
    t.equal(readFailure(await query), 'unavailable');
    t.equal(readFailure(await sumOf(rows).catch((error: unknown) => error)), 'unavailable');
  });
});
