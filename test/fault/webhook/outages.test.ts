import { test } from 'tap';
import { sharesTheFlush, survivesTheDatabase } from '../../prove/api/outages.ts';
import { SMALL } from '../../prove/api/small.ts';
import { startPostgres } from '../../support/servers/postgres.ts';
import { contextOf, tried } from '../../support/harness.ts';

const DURABLE = { settings: { synchronous_commit: 'on' } };

void test('a database that is away from the first request on costs no accepted tick', async (t) => {
  const server = await startPostgres(DURABLE);
  t.teardown(() => server.stop());
  const context = contextOf(t, () => server.createDatabase());
  await tried(t, () => survivesTheDatabase(context, server, 'redis', SMALL.outages));
});

void test('mdp serve stores nothing with --no-flush; two flushers do, of which one is killed', async (t) => {
  const server = await startPostgres(DURABLE);
  t.teardown(() => server.stop());
  const context = contextOf(t, () => server.createDatabase());
  await tried(t, () => sharesTheFlush(context, 'postgres', SMALL.flushers));
});
