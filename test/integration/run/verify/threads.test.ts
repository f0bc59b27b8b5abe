import { test } from 'tap';
import { verifiesStored } from '../../../prove/chain/verify.ts';
import { chainSpec } from '../../../support/chain/content/expected.ts';
import { testServers, type OpenTestServer } from '../../../support/servers/postgres.ts';
import { scaled } from '../../../support/scale.ts';
import { contextOf, tell } from '../../../support/harness.ts';

for (const candidate of testServers()) {
  void test(`verifies on the ${candidate.name} server`, { skip: candidate.skip }, async (t) => {
    const server: OpenTestServer = await candidate.open();
    t.after(() => server.close());

    await t.test('no alarm over a good chain, one bit of every field is found', async (t) => {
      const spec = chainSpec({ seed: 81, hostile: true });
      const size = { spec, count: scaled(20_000, 1_000_000), rounds: 2 };
      tell(
        t,
        await verifiesStored(
          contextOf(t, () => server.createDatabase()),
          size,
        ),
      );
    });

    await t.test('the same with squarings and several transactions in each tick', async (t) => {
      const spec = chainSpec({ seed: 82, first: 2n ** 53n - 100n, txs: 3, hostile: true, vdf: 'real' });
      const size = { spec, count: scaled(600, 20_000), rounds: 1 };
      tell(
        t,
        await verifiesStored(
          contextOf(t, () => server.createDatabase()),
          size,
        ),
      );
    });
  });
}
