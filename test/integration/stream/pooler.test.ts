import { after, test, type Test } from 'tap';
import { StoreClient } from '../../../src/store/store-client.ts';
import { BarHarness, TOPIC } from '../../support/bars/harness.ts';
import { oracleBars, type OracleTick } from '../../support/bars/oracle.ts';
import { barsIn, tick } from '../../support/bars/stored.ts';
import { testEnv } from '../../support/bus/env.ts';
import { seededRandom } from '../../support/random.ts';
import { noPgbouncer, startPgbouncer, type PgbouncerOptions } from '../../support/servers/pgbouncer.ts';
import { startPostgres, type TestPostgres } from '../../support/servers/postgres.ts';
import { until } from '../../support/until.ts';
import { PostgresBus } from '../../../src/bus/postgres/bus.ts';

const skip = noPgbouncer();
const SYMBOLS = ['SPY', 'AAPL', 'MSFT', 'QQQ'];
let postgres: TestPostgres | null = null;
after(() => postgres?.stop());

async function pooled(t: Test, options: PgbouncerOptions): Promise<string> {
  postgres ??= await startPostgres({ settings: { synchronous_commit: 'on' } });
  const url = await postgres.createDatabase(undefined, { schema: false });
  const pooler = await startPgbouncer(url, options);
  t.teardown(() => pooler.stop());
  return pooler.url(url);
}

void test(
  'ticks and bars over a pooler of transactions: members that come and go, redeliveries, late ticks, an inbox',
  { skip },
  async (t) => {
    const url = await pooled(t, { poolMode: 'transaction', poolSize: 6 });
    const harness = await BarHarness.open(t, url, { kind: 'postgres' }, 2);
    const random = seededRandom();
    t.comment(`SEED=${random.seed}`);
    const ticks: OracleTick[] = [];
    const more = (count: number, from: number): OracleTick[] => {
      const next = Array.from({ length: count }, (_, at) =>
        tick(random.pick(SYMBOLS), from + at / 40, 100 + random.next(), random.next(), ticks.length + at),
      );
      ticks.push(...next);
      return next;
    };
    const first = await harness.consumer();
    const batcher = await harness.batcher({ idleTimeoutMs: 1_000 });
    await harness.publish(more(400, 0));
    const second = await harness.consumer({ consumerName: 'tick-2' });
    await harness.batcher({ idleTimeoutMs: 1_000, consumerName: 'bars-2' });
    for (let round = 1; round <= 5; round += 1) {
      const next = more(200, round * 10);
      await harness.publish(next);
      await harness.publish(next.slice(0, 50)); // once more
      const late = more(20, round * 10 - 9); // windows that are closed
      await harness.client.query('SELECT bus_publish_many($1, $2, $3)', [
        TOPIC,
        late.map(({ symbol }) => symbol),
        late.map((each) =>
          JSON.stringify({
            kind: 'tick',
            provider: each.provider,
            symbol: each.symbol,
            src_ts: new Date(each.srcUs / 1000).toISOString(),
            price: each.price,
            size: each.size,
            seq: each.seq,
          }),
        ),
      ]);
      for (const each of late) each.srcUs = Math.floor(each.srcUs / 1000) * 1000;
      if (round === 2) await batcher.stop();
      if (round === 3) await first.stop();
    }
    for (const symbol of SYMBOLS) {
      await harness.untilBars(
        symbol,
        ticks.filter((each) => each.symbol === symbol),
      );
    }
    t.equal((await barsIn(harness.client, { interval: '2s' })).length, oracleBars(ticks, 2_000).length);
    await second.stop();
    const { n } = await harness.one<{ n: number }>('SELECT count(*)::int AS n FROM tick_data');
    t.equal(n, ticks.length);
    t.same(await harness.deadLetters(), []);
    const wrong = harness.logged.filter((line) => /no answer|will try again/i.test(line));
    t.same(wrong, [], 'nothing had to be repeated');
  },
);

for (const [poolMode, hears] of [
  ['transaction', false],
  ['session', true],
] as const) {
  void test(
    `pool_mode = ${poolMode}: a reader that waits gets what comes, and the log says once where notifications do not`,
    { skip },
    async (t) => {
      const url = await pooled(t, { poolMode });
      const harness = await BarHarness.open(t, url);
      const lines: string[] = [];
      const store = new StoreClient({ dbUri: url });
      t.teardown(() => store.aclose());
      const env = testEnv({ log: (_level, message) => lines.push(message) });
      const options = {
        partitions: {},
        maxBytes: 2 ** 31,
        clientName: 'test',
        checkpoints: store.busCheckpoints,
        env,
      };
      const bus = new PostgresBus({ ...options, databaseUrl: url });
      t.teardown(() => bus.close());
      const reader = await bus.openPartition({
        topic: TOPIC,
        group: 'g',
        member: 'm',
        partition: 0,
        after: null,
      });
      t.teardown(() => reader.close());
      const said = (): number => lines.filter((line) => /pool_mode = session/.test(line)).length;
      t.same(await reader.next(10, 100), []);
      if (!hears) await until('it is said', () => said() === 1);
      for (let at = 0; at < 3; at += 1) {
        const reading = reader.next(10, 20_000);
        await harness.publish([tick('SPY', at, 1)]);
        t.equal((await reading).length, 1);
      }
      t.equal(said(), hears ? 0 : 1);
    },
  );
}
