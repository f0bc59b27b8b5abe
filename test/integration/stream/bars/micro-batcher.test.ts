import { after, test, type Test } from 'tap';
import { BusError } from '../../../../src/bus/bus.ts';
import { StoreClient } from '../../../../src/store/store-client.ts';
import { BarHarness, TOPIC, type BusPlace } from '../../../support/bars/harness.ts';
import { oracleBars, type OracleTick } from '../../../support/bars/oracle.ts';
import { barsIn, MINUTE_US, oracleRollups, rollupsIn, tick, traces } from '../../../support/bars/stored.ts';
import { sharedPostgres, type SharedPostgres } from '../../../support/servers/postgres.ts';
import { seededRandom } from '../../../support/random.ts';
import { redisMissing, startRedis } from '../../../support/servers/redis.ts';
import { until } from '../../../support/until.ts';

/** no symbol is idle for so long */
const NEVER_MS = 600_000;
/** a symbol is idle soon */
const SOON_MS = 300;

let postgres: SharedPostgres | null = null;
after(() => postgres?.stop());

async function harnessOf(t: Test, place?: BusPlace): Promise<BarHarness> {
  postgres ??= await sharedPostgres();
  return BarHarness.open(t, await postgres.createDatabase(undefined, { schema: false }), place);
}

/** Ticks of a second walk of prices: some share their microsecond, some have no size. */
function walk(symbol: string, seconds: number, each = 20): OracleTick[] {
  const random = seededRandom();
  let price = 100;
  return Array.from({ length: seconds * each }, (_, at) => {
    price += random.next() - 0.5;
    const size = random.percent(10) ? null : random.next() * 10;
    return tick(symbol, Math.floor(at / 2) * (2 / each), price, size, at % 2);
  });
}

function shuffled<T>(items: readonly T[]): T[] {
  const random = seededRandom();
  return items
    .map((item) => ({ item, at: random.next() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}

for (const kind of ['postgres', 'redis'] as const) {
  const missing = kind === 'redis' ? redisMissing() : null;
  void test(
    `${kind}: windows close by watermark and by idleness, and again nothing changes`,
    { skip: missing ?? false },
    async (t) => {
      const redis = kind === 'redis' ? await startRedis() : null;
      t.teardown(() => redis?.stop());
      const harness = await harnessOf(t, redis === null ? { kind } : { kind, uri: redis.uri });
      const spy = walk('SPY', 7);
      // the watermark of 7 s less 0.5 s is past 6 s
      await harness.publish([...spy, tick('SPY', 7, 1, 1, 5)]);
      const batcher = await harness.batcher({ idleTimeoutMs: NEVER_MS });
      const closed = spy.filter(({ srcUs }) => srcUs < MINUTE_US + 6_000_000);
      await harness.untilBars('SPY', closed);
      t.strictSame(await rollupsIn(harness.client, 'SPY'), oracleRollups(closed));
      const { rows } = await harness.client.query(
        'SELECT DISTINCT "interval", is_final, revision FROM bars_ohlcv ORDER BY 1',
      );
      t.strictSame(
        rows,
        ['1d', '1h', '1m', '2s', '5m'].map((interval) => ({
          interval,
          is_final: interval === '2s',
          revision: 0,
        })),
      );
      // arrival in any order within what may be late, twice
      const jumbled = walk('AAPL', 1).map((each) => ({
        ...each,
        srcUs: each.srcUs - (each.srcUs % 100_000) + 61_000_000,
      }));
      const aapl = [...new Map(jumbled.map((each, seq) => [seq, { ...each, seq }])).values()].filter(
        ({ srcUs }) => srcUs % 1_000_000 < 500_000,
      );
      await harness.publish(shuffled([...aapl, ...aapl]));
      await harness.untilRead();
      await batcher.stop();
      t.strictSame(await barsIn(harness.client, { symbol: 'AAPL' }), [], 'nothing of it is closed');

      // the next one begins where the oldest open window did, and nobody hears of these symbols again
      const next = await harness.batcher({ idleTimeoutMs: SOON_MS, consumerName: 'bars-2' });
      await harness.untilBars('AAPL', aapl);
      const all = [...spy, tick('SPY', 7, 1, 1, 5)];
      await harness.untilBars('SPY', all);
      await harness.untilRead();
      t.strictSame(await rollupsIn(harness.client, 'SPY'), oracleRollups(all));
      t.equal((await harness.deadLetters()).length, 0);
      await next.stop();

      // dropped for good and started again, everything is read once more
      const before = await traces(harness.client);
      t.ok(await harness.bus.dropGroup(TOPIC, 'mdp-consumers'));
      await harness.batcher({
        storeClient: await forgetting(t, harness),
        idleTimeoutMs: SOON_MS,
        consumerName: 'bars-3',
      });
      await harness.untilRead();
      const closing = 'SELECT count(*)::int AS n FROM bars_watermarks WHERE closed_end > max_ts';
      await until('all is closed again', async () => (await harness.one<{ n: number }>(closing)).n === 2);
      t.strictSame(await traces(harness.client), before);
    },
  );
}

/** A store for a new member, after the group was forgotten. */
async function forgetting(t: Test, harness: BarHarness): Promise<StoreClient> {
  const store = new StoreClient({ dbUri: harness.url });
  t.teardown(() => store.aclose());
  await store.forgetGroup(TOPIC, 'mdp-consumers');
  return store;
}

void test('a late tick is in its bar once the tick consumer has passed it, and no earlier', async (t) => {
  const harness = await harnessOf(t);
  const ticks = [
    tick('SPY', 0, 10, 1),
    tick('SPY', 1, 12, 2),
    tick('SPY', 3, 11, 0.1),
    tick('SPY', 9, 13, 1),
  ];
  const late = tick('SPY', 0.5, 20, 0.2);
  // the group of the tick consumer exists and holds what it took
  const held = await harness.bus.join({ topic: TOPIC, group: 'tick-consumer', member: 'slow' });
  let looks = 0;
  const bus = new Proxy(harness.bus, {
    get(target, name) {
      if (name === 'groups') looks += 1;
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  await harness.batcher({ bus, idleTimeoutMs: NEVER_MS });
  await harness.publish(ticks);
  await harness.untilBars('SPY', ticks.slice(0, 3));
  await harness.publish([late, late, ticks[0]]);
  await harness.untilRead();
  // it has the first of the window alone: a bar made of that would shrink
  const [first] = await held.next(1, 1_000);
  await held.acknowledge([first]);
  const before = await traces(harness.client);
  const from = looks;
  await until('it has looked several times', () => looks > from + 12);
  t.strictSame(await traces(harness.client), before);
  t.equal((await harness.one<{ n: number }>('SELECT count(*)::int AS n FROM bars_late_windows')).n, 1);
  await held.leave();
  await harness.consumer({ takeoverMs: 100 });
  await harness.untilBars('SPY', [...ticks.slice(0, 3), late]);
  const all = [...ticks.slice(0, 3), late];
  t.strictSame(await rollupsIn(harness.client, 'SPY'), oracleRollups(all));
  t.strictSame(
    await barsIn(harness.client, { table: 'bars_history', interval: '2s' }),
    oracleBars(ticks.slice(0, 2), 2_000),
  );
  t.equal((await harness.one<{ n: number }>('SELECT count(*)::int AS n FROM bars_late_windows')).n, 0);
  await until('it is counted', () => harness.sum('microbatch_revisions_total') === 1);
  t.equal(
    harness.meter.values.get('microbatch_late_total{policy=revise}'),
    3,
    'a late duplicate is late as well',
  );
  t.ok(harness.logged.includes('MicroBatcher revised a bar'));
  // a late duplicate changes nothing
  const revised = await traces(harness.client);
  await harness.publish([late]);
  await until('that is done with', async () => {
    if (harness.meter.values.get('microbatch_late_total{policy=revise}') !== 4) return false;
    await harness.untilRead();
    return (await harness.one<{ n: number }>('SELECT count(*)::int AS n FROM bars_late_windows')).n === 0;
  });
  t.strictSame(await traces(harness.client), revised);
});

void test('what closed is committed at stop(), and what is open goes on with the next member', async (t) => {
  const harness = await harnessOf(t);
  const ticks = walk('SPY', 5);
  const batcher = await harness.batcher({
    idleTimeoutMs: NEVER_MS,
    flushTimeoutMs: 3_600_000,
    maxBatchSize: 100_000,
  });
  await harness.publish(ticks);
  await until('all is taken', () => harness.meter.values.get('microbatch_active_windows{}') === 1);
  await batcher.stop();
  await batcher.stop();
  const closed = ticks.filter(({ srcUs }) => srcUs < MINUTE_US + 4_000_000);
  t.strictSame(await barsIn(harness.client, { interval: '2s' }), oracleBars(closed, 2_000));
  const run = await harness.one<Record<string, unknown>>(
    `SELECT job_name, status, rows_written::int, symbols, (extract(epoch FROM min_ts) * 1000000)::bigint::text AS min,
            (extract(epoch FROM max_ts) * 1000000)::bigint::text AS max, completed_at IS NOT NULL AS completed FROM job_runs`,
  );
  t.strictSame(run, {
    job_name: 'micro_batch',
    status: 'success',
    rows_written: 2 + 4,
    symbols: ['SPY'],
    min: `${MINUTE_US}`,
    max: `${MINUTE_US + 2_000_000}`,
    completed: true,
  });
  t.equal(harness.meter.values.get('microbatch_flush_total{window_ms=2000,symbol=SPY}'), 2);
  t.equal(harness.meter.values.get('microbatch_flush_rows{window_ms=2000}'), 6);
  t.ok(
    harness.meter.values.has('stream_consumer_lag_ms{topic=mdp.events,group=mdp-consumers,consumer=bars-1}'),
  );
  await harness.batcher({ idleTimeoutMs: SOON_MS, consumerName: 'bars-2' });
  await harness.untilBars('SPY', ticks);
});

void test('a run that ends at once has its row, and a group of another role is refused', async (t) => {
  const harness = await harnessOf(t);
  const short = await harness.batcher();
  await short.stop();
  const runs = (): Promise<{ status: string }[]> =>
    harness.client.query<{ status: string }>('SELECT status FROM job_runs').then(({ rows }) => rows);
  t.notOk((await runs()).some(({ status }) => status === 'running'));
  await harness.consumer();
  await until('the group is the tick consumer', async () => {
    const { rows } = await harness.client.query("SELECT FROM bus_groups WHERE group_name = 'tick-consumer'");
    return rows.length === 1;
  });
  const other = await harness.batcher({ consumerGroup: 'tick-consumer', consumerName: 'other' });
  const error: unknown = await other.done.catch((reason: unknown) => reason);
  t.ok(error instanceof BusError && error.kind === 'setup', String(error));
  t.match((error as Error).message, /group tick-consumer of mdp\.events belongs to the role tick_consumer/);
});
