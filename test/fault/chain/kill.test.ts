import { test } from 'tap';
import { survivesKills } from '../../prove/chain/process/kills.ts';
import { chainSpec } from '../../support/chain/content/expected.ts';
import { testServers } from '../../support/servers/postgres.ts';
import { scaled } from '../../support/scale.ts';
import { contextOf, tell } from '../../support/harness.ts';

for (const candidate of testServers()) {
  const { name, skip } = candidate;
  void test(`kill -9 at random moments, on the ${name} server`, { skip }, async (t) => {
    const server = await candidate.open();
    t.after(() => server.close());
    const size = {
      spec: chainSpec({ seed: 21, hostile: true }),
      count: scaled(60_000, 1_000_000),
      kills: scaled(3, 30),
    };
    tell(
      t,
      await survivesKills(
        contextOf(t, () => server.createDatabase()),
        size,
      ),
    );
  });
}
