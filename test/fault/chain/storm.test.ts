import { test } from 'tap';
import { STORM_SETTINGS, survivesStorm } from '../../prove/chain/storm.ts';
import { chainSpec } from '../../support/chain/content/expected.ts';
import { startPostgres } from '../../support/servers/postgres.ts';
import { scaled } from '../../support/scale.ts';
import { contextOf, tell } from '../../support/harness.ts';

void test('a storm of random faults', async (t) => {
  const server = await startPostgres({ settings: STORM_SETTINGS });
  t.after(() => server.stop());
  const context = contextOf(t, () => server.createDatabase());
  const spec = chainSpec({ seed: 99, txs: 1, hostile: true, ticksPerSecond: 1500n });
  tell(t, await survivesStorm(context, server, { spec, seconds: scaled(20, 600) }));
});
