import { after, test, type Test } from 'tap';
import { formatMicros } from '../../../../src/core/time.ts';
import { BarHarness } from '../../../support/bars/harness.ts';
import { oracleBars, type OracleTick } from '../../../support/bars/oracle.ts';
import { barsIn, MINUTE_US, oracleRollups, rollupsIn, tick, traces } from '../../../support/bars/stored.ts';
import { sharedPostgres, type SharedPostgres } from '../../../support/servers/postgres.ts';
import { until } from '../../../support/until.ts';

/** no symbol is idle for so long */
const NEVER_MS = 600_000;
const SOON_MS = 300;

let postgres: SharedPostgres | null = null;
after(() => postgres?.stop());

async function harnessOf(t: Test): Promise<BarHarness> {
  postgres ??= await sharedPostgres();
  return BarHarness.open(t, await postgres.createDatabase(undefined, { schema: false }));
}

/** What is on mdp.events.dlq: reason, position and the bytes as they came. */
async function put(harness: BarHarness): Promise<[string, string | null, string][]> {
  const letters = await harness.deadLetters();
  return letters.map(({ reason, msgId, raw }) => [reason, msgId, Buffer.from(raw).toString()]);
}

const CLOSED = [tick('SPY', 0, 10), tick('SPY', 1, 11), tick('SPY', 5, 12)];
const LATE = [tick('SPY', 0.5, 99), tick('SPY', 1.5, 98)];

void test('late: drop counts late ticks, each once, and changes no bar', async (t) => {
  const harness = await harnessOf(t);
  const batcher = await harness.batcher({ late: 'drop', idleTimeoutMs: NEVER_MS });
  await harness.publish(CLOSED);
  await harness.untilBars('SPY', CLOSED.slice(0, 2));
  const before = await traces(harness.client);
  await harness.publish([...LATE, LATE[0]]);
  const dropped = 'SELECT sum(late_dropped)::int AS n FROM bars_partitions';
  await until('they are counted', async () => (await harness.one<{ n: number }>(dropped)).n === 3);
  await batcher.stop();
  t.equal(harness.meter.values.get('microbatch_late_total{policy=drop}'), 3);
  await harness.batcher({ late: 'drop', idleTimeoutMs: NEVER_MS, consumerName: 'bars-2' });
  await harness.publish([tick('SPY', 6, 12)]);
  await harness.untilRead();
  t.equal((await harness.one<{ n: number }>(dropped)).n, 3, 'also after a restart');
  t.strictSame(
    (await traces(harness.client)).filter(({ interval }) => interval === '2s'),
    before.filter(({ interval }) => interval === '2s'),
  );
  t.strictSame(await put(harness), []);
});

void test('late: dlq puts late ticks aside with their bytes, before their position is committed', async (t) => {
  const harness = await harnessOf(t);
  await harness.batcher({ late: 'dlq', idleTimeoutMs: NEVER_MS });
  await harness.publish(CLOSED);
  await harness.untilBars('SPY', CLOSED.slice(0, 2));
  const before = await traces(harness.client);
  const positions = await harness.publish(LATE);
  await harness.untilRead();
  const letters = await harness.deadLetters();
  t.strictSame(
    letters.map(({ reason, topic, group, msgId }) => [reason, topic, group, msgId]),
    positions.map((position) => ['late', 'mdp.events', 'mdp-consumers', position]),
  );
  t.strictSame(
    letters.map(({ raw }) => (JSON.parse(Buffer.from(raw).toString()) as { price: number }).price),
    [99, 98],
  );
  t.strictSame(await traces(harness.client), before);
  t.equal(harness.meter.values.get('microbatch_late_total{policy=dlq}'), 2);
});

void test('what is no event, lies ahead, comes too late or contradicts another is put aside, its neighbours count', async (t) => {
  const harness = await harnessOf(t);
  await harness.batcher({ idleTimeoutMs: NEVER_MS, reviseHorizonMs: 60_000 });
  await harness.consumer();
  const good = [tick('SPY', 0, 10, 1, 1), tick('SPY', 1, 11, 1, 2)];
  const [first] = await harness.publish([good[0]]);
  t.ok(first);
  const [conflict] = await harness.publish([{ ...good[0], price: 66 }]);
  const nowUs = Date.now() * 1_000;
  const [future] = await harness.publish([{ ...good[0], srcUs: nowUs + 120_000_000, seq: 9 }]);
  const [ranged] = await harness.publish([good[0]], { src_ts: '1999-12-31T23:59:59Z' });
  const [malformed] = await harness.publish([good[0]], { price: 'ten' });
  const [bytes] = await harness.bus.publish('mdp.events', [
    { key: 'SPY', eventId: null, data: Buffer.from('{"provider":'), encoding: 'json' },
  ]);
  // in time when its own ingest_ts says so
  const stamped = { ...good[1], srcUs: good[1].srcUs + 100_000, seq: 3 };
  await harness.publish([stamped], { ingest_ts: formatMicros(BigInt(stamped.srcUs - 59_000_000)) });
  await harness.publish([good[1], tick('SPY', 100, 12)]);
  const all = [...good, stamped];
  await harness.untilBars('SPY', all);
  // the window ends at 2 s, and the watermark is at 99.5 s
  const [tooLate] = await harness.publish([tick('SPY', 0.7, 1)]);
  await harness.untilRead();
  await until('each is put aside', async () => (await put(harness)).length >= 6);
  // the tick consumer refuses the same ones for the same reasons, under the same id; which content stays it decides alone
  const letters = await harness.deadLetters();
  t.strictSame(
    letters.filter(({ reason }) => reason === 'conflict').map(({ msgId, group }) => [msgId, group]),
    [[conflict, 'tick-consumer']],
  );
  const mine = letters.filter(({ group }) => group === 'mdp-consumers');
  t.strictSame(
    mine.map(({ reason, msgId }) => [msgId, reason]).sort(([a], [b]) => Number(a) - Number(b)),
    [
      [future, 'future'],
      [ranged, 'time_out_of_range'],
      [malformed, 'bad_price'],
      [bytes, 'bad_json'],
      [tooLate, 'too_late'],
    ],
  );
  t.strictSame(await barsIn(harness.client, { symbol: 'SPY', interval: '2s' }), oracleBars(all, 2_000));
  t.equal(harness.meter.values.get('errors_total{component=micro_batch,reason=too_late}'), 1);
  await until('no window waits', async () => {
    const { n } = await harness.one<{ n: number }>('SELECT count(*)::int AS n FROM bars_late_windows');
    return n === 0;
  });
  t.strictSame(await barsIn(harness.client, { symbol: 'SPY', interval: '2s' }), oracleBars(all, 2_000));
});

/** A bar of one second that begins `at` seconds after MINUTE_US. */
function barEvent(
  at: number,
  [o, h, l, c, v]: number[],
  interval = '1s',
): [OracleTick, Record<string, unknown>] {
  return [tick('BARS', at, 0), { kind: 'bar', interval, o, h, l, c, v, price: undefined, size: undefined }];
}

void test('bar events are merged whole; ticks are the truth where there are some', async (t) => {
  const harness = await harnessOf(t);
  const send = async (...[each, more]: ReturnType<typeof barEvent>): Promise<string> =>
    (await harness.publish([each], more))[0];
  await harness.batcher({ idleTimeoutMs: NEVER_MS });
  await send(...barEvent(1, [11, 15, 10, 12, 0.2]));
  await send(...barEvent(0, [10, 12, 9, 11, 0.1]));
  await send(...barEvent(0, [10, 12, 9, 11, 0.1])); // once more
  const contradiction = await send(...barEvent(0, [10, 12, 9, 10, 0.1]));
  await send(...barEvent(1.5, [1, 99, 1, 1, 7])); // lies in two windows
  await send(...barEvent(0, [1, 99, 1, 1, 7], '5s')); // longer than a window
  await send(...barEvent(2, [10, 12, 9, 11, 5])); // beside ticks
  await harness.publish([tick('BARS', 2.5, 20, 2), tick('BARS', 3, 21, 1)]);
  await send(...barEvent(8, [1, 2, 1, 2, 1]));
  const late = await send(...barEvent(1, [11, 15, 10, 12, 0.3], '500ms'));
  const expected = [
    {
      provider: 'p',
      symbol: 'BARS',
      ts: MINUTE_US,
      open: 10,
      high: 15,
      low: 9,
      close: 12,
      volume: 0.30000000000000004,
      vwap: null,
      ticks: 0,
      first: MINUTE_US,
      last: MINUTE_US + 1_000_000,
    },
    ...oracleBars([tick('BARS', 2.5, 20, 2), tick('BARS', 3, 21, 1)], 2_000),
  ];
  await until(
    'the windows are there',
    async () => (await barsIn(harness.client, { interval: '2s' })).length === 2,
  );
  t.strictSame(await barsIn(harness.client, { interval: '2s' }), expected);
  const [minute] = await barsIn(harness.client, { interval: '1m' });
  t.strictSame(
    [minute.open, minute.high, minute.low, minute.close, minute.volume, minute.vwap, minute.ticks],
    [10, 21, 9, 21, 3.3, null, 2],
  );
  await harness.untilRead();
  t.strictSame(
    (await put(harness)).map(([reason, position]) => [reason, position]),
    [
      ['conflict', contradiction],
      ['late', late],
    ],
  );
  const skipped = (reason: string): unknown =>
    harness.meter.values.get(`microbatch_skipped_total{reason=${reason}}`);
  t.strictSame(['too_long', 'straddles', 'ticks_seen', 'overlaps'].map(skipped), [1, 1, 1, undefined]);
  const said = harness.logged.filter((message) => message.includes('candles that fit into no window'));
  t.equal(said.length, 2, 'one line for each reason');
});

void test('replayed events go to bars_replay and leave live bars, watermarks and late policies alone', async (t) => {
  const harness = await harnessOf(t);
  await harness.consumer();
  await harness.batcher({ idleTimeoutMs: SOON_MS });
  const live = [tick('SPY', 0, 10, 1), tick('SPY', 1, 11, 1), tick('SPY', 3, 12, 1)];
  await harness.publish(live);
  await harness.untilBars('SPY', live);
  const before = await traces(harness.client);
  const old = [tick('SPY', -600, 5, 0.1, 1), tick('SPY', -599, 6, 0.2, 2), tick('SPY', -597, 7, 0.3, 3)];
  const ahead = [tick('SPY', 600, 5, 0.1, 1)];
  const replay = { origin: 'replay', replay_run_id: 42 };
  await harness.publish([...old, ...ahead], replay);
  const bars = (): Promise<unknown> => barsIn(harness.client, { table: 'bars_replay', interval: '2s' });
  const expected = oracleBars([...old, ...ahead], 2_000);
  await until(
    'they are in bars_replay',
    async () => JSON.stringify(await bars()) === JSON.stringify(expected),
  );
  // after a pause the run goes on inside a window that was closed, and repeats itself
  const more = tick('SPY', 600.5, 8, 0.4, 2);
  await harness.publish([...ahead, more], replay);
  const extended = oracleBars([...old, ...ahead, more], 2_000);
  await until(
    'its window is extended',
    async () => JSON.stringify(await bars()) === JSON.stringify(extended),
  );
  t.strictSame(
    (await traces(harness.client)).filter((row) => row['of'] === 'live'),
    before,
  );
  await harness.publish([tick('SPY', 5, 9, 1)]);
  const all = [...live, tick('SPY', 5, 9, 1)];
  await harness.untilBars('SPY', all);
  await until(
    'rollups follow',
    async () => JSON.stringify(await rollupsIn(harness.client, 'SPY')) === JSON.stringify(oracleRollups(all)),
  );
  t.strictSame(await put(harness), []);
  t.equal(
    (await harness.one<{ n: number }>('SELECT count(*)::int AS n FROM tick_data')).n,
    4,
    'ticks of replays are not stored',
  );
});
