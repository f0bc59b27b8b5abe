import { test } from 'tap';
import { survivesLostTransactions, survivesOutages } from '../../prove/chain/database/outage.ts';
import { chainSpec } from '../../support/chain/content/expected.ts';
import { startPostgres } from '../../support/servers/postgres.ts';
import { scaled } from '../../support/scale.ts';
import { contextOf, tell } from '../../support/harness.ts';

const spec = chainSpec({ seed: 51, ticksPerSecond: 4000n });

void test('a while without a database, and an immediate stop of it', async (t) => {
  const server = await startPostgres({ fsync: true });
  t.after(() => server.stop());
  const context = contextOf(t, () => server.createDatabase());
  tell(t, await survivesOutages(context, server, { spec, outageMs: scaled(4_000, 40_000) }));
});

void test('a database that goes backwards', async (t) => {
  const server = await startPostgres({
    fsync: true,
    settings: { wal_writer_delay: '10s', wal_writer_flush_after: '1GB', wal_buffers: '64MB' },
  });
  t.after(() => server.stop());
  const context = contextOf(t, () => server.createDatabase());
  tell(t, await survivesLostTransactions(context, server, { spec, crashes: scaled(1, 5) }));
});
