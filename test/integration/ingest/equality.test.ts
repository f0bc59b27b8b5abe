import { test } from 'tap';
import { assertHypertables } from '../../prove/chain/hypertables.ts';
import { ingestsEqually } from '../../prove/chain/equality.ts';
import { storesRealTicks } from '../../prove/chain/real-ticks.ts';
import { chainSpec } from '../../support/chain/content/expected.ts';
import { realTicks } from '../../support/chain/content/real-ticks.ts';
import { testServers } from '../../support/servers/postgres.ts';
import { scaled } from '../../support/scale.ts';
import { contextOf, tell } from '../../support/harness.ts';

for (const candidate of testServers()) {
  const { name, skip } = candidate;
  void test(
    `stores the three real ticks equal to their file on the ${name} server`,
    { skip: skip === false ? realTicks.skip : skip },
    async (t) => {
      const server = await candidate.open();
      t.after(() => server.close());
      tell(t, await storesRealTicks(contextOf(t, () => server.createDatabase())));
    },
  );

  void test(`ingests on the ${name} server`, { skip }, async (t) => {
    const server = await candidate.open();
    t.after(() => server.close());

    await t.test('a long chain is stored equal to its recomputation', async (t) => {
      let url = '';
      const context = contextOf(t, async () => (url = await server.createDatabase()));
      const spec = chainSpec({ seed: 11, hostile: true });
      tell(t, await ingestsEqually(context, { spec, count: scaled(20_000, 1_000_000) }));
      if (name === 'timescale') t.comment(JSON.stringify(await assertHypertables(url, true)));
    });

    await t.test('numbers beyond 2^53, squarings and several transactions in each tick', async (t) => {
      const context = contextOf(t, () => server.createDatabase());
      const spec = chainSpec({ seed: 3, first: 2n ** 53n - 100n, txs: 3, hostile: true, vdf: 'real' });
      tell(t, await ingestsEqually(context, { spec, count: 400 }));
    });

    await t.test('the highest numbers that a bigint holds', async (t) => {
      const context = contextOf(t, () => server.createDatabase());
      const spec = chainSpec({ seed: 4, first: 2n ** 63n - 300n, txs: 2 });
      tell(t, await ingestsEqually(context, { spec, count: 300 }));
    });
  });
}
