import { test } from 'tap';
import { survivesSequencerFaults } from '../../prove/chain/sequencer-faults.ts';
import { chainSpec } from '../../support/chain/content/expected.ts';
import { startPostgres } from '../../support/servers/postgres.ts';
import { scaled } from '../../support/scale.ts';
import { contextOf, tell } from '../../support/harness.ts';

void test('a sequencer that is frozen, replaced, cut off, slow', async (t) => {
  const server = await startPostgres();
  t.after(() => server.stop());
  const context = contextOf(t, () => server.createDatabase());
  const spec = chainSpec({ seed: 145, ticksPerSecond: 2000n, hostile: true });
  tell(t, await survivesSequencerFaults(context, { spec, faults: scaled(6, 200) }));
});
