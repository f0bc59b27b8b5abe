import { test } from 'tap';
import { survivesWireFaults } from '../../prove/chain/wire.ts';
import { chainSpec } from '../../support/chain/content/expected.ts';
import { startPostgres } from '../../support/servers/postgres.ts';
import { contextOf, tell } from '../../support/harness.ts';
import { wireFaults } from '../../support/chain/wire-faults.ts';

void test('ticks left out, doubled, swapped, rewritten and malformed are all accounted for', async (t) => {
  const server = await startPostgres();
  t.after(() => server.stop());
  // the last gap is followed by more ticks than the reorder window has: nothing waits for its time
  const faults = wireFaults({
    gap: 610n,
    gapForever: 2090n,
    duplicate: 530n,
    swap: 470n,
    rewrite: 170n,
    malformed: 430n,
    malformedForever: 2030n,
  });
  const spec = chainSpec({ seed: 171, txs: 1, hostile: true });
  tell(
    t,
    await survivesWireFaults(
      contextOf(t, () => server.createDatabase()),
      { spec, count: 20_100, faults },
    ),
  );
});
