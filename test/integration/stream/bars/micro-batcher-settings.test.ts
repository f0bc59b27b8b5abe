import { test } from 'tap';
import { BarHarness } from '../../../support/bars/harness.ts';
import { barsIn, oracleRollups, rollupsIn, tick } from '../../../support/bars/stored.ts';
import { hostileDatabase } from '../../../support/servers/hostile-settings.ts';
import { startPostgres } from '../../../support/servers/postgres.ts';
import { until } from '../../../support/until.ts';

/** no symbol is idle for so long */
const NEVER_MS = 600_000;

void test('bars are exact whatever database and role have as defaults', async (t) => {
  const server = await startPostgres();
  t.teardown(() => server.stop());
  const { url, looking } = await hostileDatabase(server, { schema: false });
  t.teardown(() => looking.end());
  const harness = await BarHarness.open(t, url);
  await harness.consumer();
  const first = await harness.batcher({ idleTimeoutMs: NEVER_MS });
  const early = [tick('SPY', 0.1, 33.333333333333336, 0.1), tick('SPY', 0.2, 33.3, 0.2)];
  const closing = tick('SPY', 8, 0.1 + 0.2, 1 / 3);
  await harness.publish([...early, closing]);
  await harness.untilBars('SPY', early);
  const late = tick('SPY', 0.3, 33.25, 0.7);
  await harness.publish([late]);
  await harness.untilBars('SPY', [...early, late]);
  // by a session that has none of our settings
  const { rows } = await looking.query<Record<string, unknown>>(
    `SELECT open, high, low, close, volume, vwap, tick_count, revision FROM bars_ohlcv WHERE "interval" = '2s'`,
  );
  t.strictSame(
    { ...rows[0] },
    {
      open: 33.333333333333336,
      high: 33.333333333333336,
      low: 33.25,
      close: 33.25,
      volume: 1,
      vwap: 33.26833333333333,
      tick_count: '3',
      revision: 1,
    },
  );

  // open rollups go through the database at a restart
  await harness.untilRead();
  await first.stop();
  await harness.batcher({ idleTimeoutMs: NEVER_MS });
  const more = [tick('SPY', 10, 1e-17, 1e16), tick('SPY', 11, 2 / 3, 0.1), tick('SPY', 20, 7, 1)];
  await harness.publish(more);
  const closed = [...early, late, closing, ...more.slice(0, 2)];
  await harness.untilBars('SPY', closed);
  await until('the rollups hold them all', async () =>
    (await barsIn(harness.client, { symbol: 'SPY', interval: '1d' })).some(({ ticks }) => ticks === 6),
  );
  t.strictSame(await rollupsIn(harness.client, 'SPY'), oracleRollups(closed));
  t.strictSame(await rollupsIn(looking, 'SPY'), oracleRollups(closed));
});
