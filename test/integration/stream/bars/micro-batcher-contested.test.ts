import { after, test, type Test } from 'tap';
import { BarHarness, type BusPlace } from '../../../support/bars/harness.ts';
import { type OracleTick } from '../../../support/bars/oracle.ts';
import { assertRecomputed } from '../../../support/bars/recomputed.ts';
import { barsIn, oracleRollups, rollupsIn, storeTicks, tick } from '../../../support/bars/stored.ts';
import { sharedPostgres, type SharedPostgres } from '../../../support/servers/postgres.ts';
import { redisMissing, startRedis } from '../../../support/servers/redis.ts';
import { until } from '../../../support/until.ts';

/** no symbol is idle for so long */
const NEVER_MS = 600_000;

let postgres: SharedPostgres | null = null;
after(() => postgres?.stop());

async function harnessOf(t: Test, place?: BusPlace): Promise<BarHarness> {
  postgres ??= await sharedPostgres();
  return BarHarness.open(t, await postgres.createDatabase(undefined, { schema: false }), place);
}

/** Windows and rollups are those of these ticks, once nothing waits any more. */
async function untilExactly(t: Test, harness: BarHarness, ticks: readonly OracleTick[]): Promise<void> {
  await harness.untilBars('SPY', ticks);
  await until('nothing waits', async () => {
    const { n } = await harness.one<{ n: number }>('SELECT count(*)::int AS n FROM bars_late_windows');
    return n === 0;
  });
  t.strictSame(await rollupsIn(harness.client, 'SPY'), oracleRollups(ticks));
  t.ok((await assertRecomputed(harness.client)) > 0);
}

const letters = async (harness: BarHarness): Promise<(string | null)[][]> =>
  (await harness.deadLetters()).map(({ reason, group, msgId }) => [reason, group, msgId]);

for (const kind of ['postgres', 'redis'] as const) {
  const missing = kind === 'redis' ? redisMissing() : null;
  void test(
    `${kind}: a bar holds the content that is stored, although another one came first`,
    { skip: missing ?? false },
    async (t) => {
      const redis = kind === 'redis' ? await startRedis() : null;
      t.teardown(() => redis?.stop());
      const harness = await harnessOf(t, redis === null ? { kind } : { kind, uri: redis.uri });
      const first = tick('SPY', 0.5, 10, 1);
      const second = { ...first, price: 33.333333333333336, size: 0.7 };
      const others = [tick('SPY', 0.1, 33.3, 0.2), tick('SPY', 1.9, 33.25, 0.1), tick('SPY', 2.5, 40)];
      const end = tick('SPY', 10, 1);
      // as a faster member of the group commits it
      await storeTicks(harness.client, [second]);
      const [position] = await harness.publish([first, others[0], second, first, ...others.slice(1), end]);
      await harness.batcher({ idleTimeoutMs: NEVER_MS });
      await harness.untilBars('SPY', [first, ...others]);
      t.strictSame(await letters(harness), [], 'which one is stored is not known yet');
      await harness.consumer();
      await untilExactly(t, harness, [second, ...others]);
      const found = await letters(harness);
      t.strictSame(
        found.map(([reason, group]) => [reason, group]),
        [
          ['conflict', 'tick-consumer'],
          ['conflict', 'tick-consumer'],
        ],
        'the one that is not stored, each time it came',
      );
      t.ok(found.some(([, , msgId]) => msgId === position));
      t.equal(harness.sum('microbatch_contested_total'), 1);
      const { n } = await harness.one<{ n: number }>(
        `SELECT count(*)::int AS n FROM bars_history WHERE "interval" = '2s'`,
      );
      t.equal(n, 1);
    },
  );
}

void test('a content that never was on the bus counts when it is stored, closed windows or open ones', async (t) => {
  const harness = await harnessOf(t);
  await harness.batcher({ idleTimeoutMs: NEVER_MS });
  const closed = [tick('SPY', 0, 1), tick('SPY', 1, 2)];
  const open = tick('SPY', 9, 3);
  await harness.publish([...closed, open]);
  await harness.untilBars('SPY', closed);
  const stored = [
    { ...closed[1], price: 0.1 },
    { ...open, price: 77, size: null },
  ];
  await storeTicks(harness.client, stored);
  await harness.consumer();
  await harness.untilBars('SPY', [closed[0], stored[0]]);
  await harness.publish([tick('SPY', 20, 4)]);
  await untilExactly(t, harness, [closed[0], ...stored]);
});

void test('ticks that were put aside before their bars are made are not forgotten', async (t) => {
  const harness = await harnessOf(t);
  const ticks = [tick('SPY', 0, 1), tick('SPY', 61, 2)];
  const stored = { ...ticks[0], price: 5 };
  await storeTicks(harness.client, [stored]);
  await harness.publish([...ticks, tick('SPY', 70, 9)]);
  await harness.consumer();
  await until('it is put aside', async () => (await letters(harness)).length === 1);
  const first = await harness.batcher({ idleTimeoutMs: NEVER_MS });
  await untilExactly(t, harness, [stored, ticks[1]]);
  // what was read is not read again by the next owner
  const readTo = (): Promise<{ tx: string }> =>
    harness.one('SELECT contested_from::text AS tx FROM bars_partitions');
  await until('the cursor is stored', async () => (await readTo()).tx !== '0');
  await first.stop();
  await harness.batcher({ idleTimeoutMs: NEVER_MS });
  await harness.publish([tick('SPY', 80, 9)]);
  await harness.untilBars('SPY', [stored, ticks[1], tick('SPY', 70, 9)]);
});

void test('a tick that the database refuses leaves its bar, and the rollups above', async (t) => {
  const harness = await harnessOf(t);
  await harness.client.query('ALTER TABLE tick_data ADD CONSTRAINT no_evil CHECK (price <> 666)');
  await harness.batcher({ idleTimeoutMs: NEVER_MS });
  const good = [tick('SPY', 0, 1), tick('SPY', 1, 2), tick('SPY', 3, 5)];
  const evil = tick('SPY', 0.5, 666);
  const end = tick('SPY', 10, 1);
  await harness.publish([good[0], evil, ...good.slice(1), end]);
  await harness.untilBars('SPY', [...good, evil]);
  await harness.consumer();
  await untilExactly(t, harness, good);
  t.strictSame(
    (await letters(harness)).map(([reason]) => reason),
    ['refused_by_database'],
  );
  t.strictSame(
    (await barsIn(harness.client, { table: 'bars_history', interval: '2s' })).map(({ high }) => high),
    [666],
  );
});
