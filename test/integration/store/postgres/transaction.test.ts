import type { Client } from 'pg';
import { test } from 'tap';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { inSnapshot, inTransaction } from '../../../../src/store/postgres/transaction.ts';
import { sharedPostgres } from '../../../support/servers/postgres.ts';
import { until } from '../../../support/until.ts';

const ENDED = { code: '57P01', message: /terminating connection due to administrator command/ };

void test('why a transaction failed is in the words of the server, also when it ended the session', async (t) => {
  const server = await sharedPostgres();
  t.teardown(() => server.stop());
  const url = await server.createDatabase(undefined, { schema: false });
  const open = async (onLost?: (error: Error) => void): Promise<Client> => {
    const client = await connect(parseDatabaseUrl(url), {
      applicationName: 'test',
      ...(onLost === undefined ? {} : { onLost }),
    });
    t.teardown(() => client.end().catch(() => {}));
    return client;
  };
  const other = await open();
  for (const within of [inSnapshot, inTransaction]) {
    const failing = await open();
    await t.rejects(
      within(failing, () => failing.query('SELECT 1 / 0')),
      { code: '22012' },
    );
    t.match(await within(failing, () => failing.query('SELECT 1 AS one')), { rowCount: 1 }, 'it can go on');

    const asked = await open();
    const { rows } = await asked.query<{ pid: string }>('SELECT pg_backend_pid() AS pid');
    const sleeping = t.rejects(
      within(asked, () => asked.query('SELECT pg_sleep(3600)')),
      ENDED,
    );
    await until('it sleeps', async () => {
      const { rowCount } = await other.query(
        "SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'PgSleep'",
        [rows[0]?.pid],
      );
      return rowCount === 1;
    });
    await other.query('SELECT pg_terminate_backend($1)', [rows[0]?.pid]);
    await sleeping;

    const lost = Promise.withResolvers<void>();
    const idle = await open(() => lost.resolve());
    await t.rejects(
      within(idle, async () => {
        const { rows } = await idle.query<{ pid: string }>('SELECT pg_backend_pid() AS pid');
        await other.query('SELECT pg_terminate_backend($1)', [rows[0]?.pid]);
        await lost.promise;
        await idle.query('SELECT 1');
      }),
      ENDED,
      'between two statements',
    );
  }
});
