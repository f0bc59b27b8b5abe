import { test } from 'tap';
import { survivesLostCommits } from '../../prove/chain/database/lost-commits.ts';
import { survivesCuts } from '../../prove/chain/database/outage.ts';
import { chainSpec } from '../../support/chain/content/expected.ts';
import { testServers } from '../../support/servers/postgres.ts';
import { isFull, scaled } from '../../support/scale.ts';
import { contextOf, tell } from '../../support/harness.ts';

for (const candidate of testServers()) {
  const { name, skip } = candidate;
  void test(`a connection that breaks in the middle, on the ${name} server`, { skip }, async (t) => {
    const server = await candidate.open();
    t.after(() => server.close());
    const context = contextOf(t, () => server.createDatabase());
    const spec = chainSpec({ seed: 31 });

    await t.test('every 9th COMMIT is answered into the void', async (t) => {
      const size = { spec, count: scaled(20_000, 200_000), every: 9, silently: false, batchTicks: 200 };
      tell(t, await survivesLostCommits(context, size));
    });

    const skip = isFull ? false : 'the watchdog waits 30 s: full size only';
    await t.test('some COMMITs are answered by silence', { skip }, async (t) => {
      tell(
        t,
        await survivesLostCommits(context, {
          spec,
          count: 20_000,
          every: 37,
          silently: true,
          batchTicks: 200,
        }),
      );
    });

    await t.test('all connections are reset at random moments', async (t) => {
      tell(t, await survivesCuts(context, { spec, count: scaled(40_000, 400_000), cuts: scaled(6, 60) }));
    });
  });
}
