import { test } from 'tap';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { migrate } from '../../../../src/store/schema/migrate.ts';
import { marketTicks } from '../../../../src/store/queries/market-ticks.ts';
import { readNewest } from '../../../../src/store/queries/newest-first.ts';
import { ProviderNames } from '../../../../src/store/queries/provider-names.ts';
import { sharedPostgres } from '../../../support/servers/postgres.ts';

const DAY = 86_400_000_000n;
/** 2025-06-01T00:00:00Z */
const NOW = 1_748_736_000_000_000n;

void test('newest rows, and who has a symbol', async (t) => {
  const server = await sharedPostgres();
  t.after(() => server.stop());
  const client = await connect(parseDatabaseUrl(await server.createDatabase('newest', { schema: false })), {
    applicationName: 'test',
  });
  t.after(() => client.end());
  await migrate(client);
  const put = (provider: string, symbol: string, days: number): Promise<unknown> =>
    client.query(
      `INSERT INTO tick_data (provider, symbol, ts, price) VALUES ($1, $2, timestamptz '2025-06-01Z' - $3 * interval '1 day', $3)`,
      [provider, symbol, days],
    );
  const ages = [-1, 0.5, 2, 20, 40, 400, 4000];
  for (const age of ages) await put('p', 'A', age);

  await t.test('pages are those of all rows, however old the rows are', async (t) => {
    for (let rowsMax = 1; rowsMax <= ages.length + 1; rowsMax += 1) {
      for (const needsMore of [true, false]) {
        let asked = 0;
        const { batch, hasMore } = await readNewest(client, { before: NOW, rowsMax, needsMore }, (from) => {
          asked += 1;
          return marketTicks({
            symbol: 'A',
            providers: ['p'],
            from,
            to: null,
            order: 'newest first',
            after: null,
            rowsMax,
          });
        });
        const found = Array.from({ length: batch.rows }, (_, row) => batch.row(row)['price']);
        t.strictSame(found, ages.slice(0, rowsMax));
        if (needsMore) t.equal(hasMore, rowsMax < ages.length);
        if (rowsMax === 1) t.equal(asked, 1, 'the newest rows are found at once');
      }
    }
    const later = await readNewest(client, { before: NOW - 30n * DAY, rowsMax: 2, needsMore: true }, (from) =>
      marketTicks({
        symbol: 'A',
        providers: ['p'],
        from,
        to: null,
        order: 'newest first',
        after: { ts: NOW - 20n * DAY, provider: 'p', seq: 0n },
        rowsMax: 2,
      }),
    );
    t.strictSame([later.batch.row(0)['price'], later.batch.row(1)['price']], [40, 400]);
  });

  await t.test(
    'providers of a symbol are asked for again after 5 s; that there is none is not kept',
    async (t) => {
      let nowMs = 0;
      const names = new ProviderNames({ nowMicros: () => NOW, monotonicMs: () => nowMs });
      t.strictSame(await names.of(client, 'B'), []);
      await put('q', 'B', 1);
      t.strictSame(await names.of(client, 'B'), ['q']);
      await put('a', 'B', 1);
      nowMs = 4999;
      t.strictSame(await names.of(client, 'B'), ['q']);
      nowMs = 5001;
      t.strictSame(await names.of(client, 'B'), ['a', 'q']);
      t.strictSame(await names.of(client, 'A'), ['p']);
    },
  );
});
