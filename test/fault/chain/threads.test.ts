import { test } from 'tap';
import { survivesThreadDeaths } from '../../prove/chain/process/threads.ts';
import { chainSpec } from '../../support/chain/content/expected.ts';
import { startPostgres } from '../../support/servers/postgres.ts';
import { scaled } from '../../support/scale.ts';
import { contextOf, tell } from '../../support/harness.ts';

void test('threads that die', async (t) => {
  const server = await startPostgres();
  t.after(() => server.stop());
  const context = contextOf(t, () => server.createDatabase());
  const size = {
    spec: chainSpec({ seed: 97, hostile: true }),
    count: scaled(60_000, 600_000),
    deaths: scaled(9, 60),
  };
  tell(t, await survivesThreadDeaths(context, size));
});
