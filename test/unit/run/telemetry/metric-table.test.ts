import { test } from 'tap';
import { MeterBuffer } from '../../../../src/run/telemetry/meter-buffer.ts';
import { Metrics } from '../../../../src/run/telemetry/metric-table.ts';
import { StageMetrics } from '../../../../src/run/telemetry/stage-metrics.ts';

/** The lines of the exposition but for HELP and TYPE. */
async function lines(metrics: Pick<Metrics, 'render'>): Promise<string[]> {
  return (await metrics.render()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
}

void test('series of known labels exist at 0 from the start, those of any other value with their first', async (t) => {
  const metrics = new Metrics({
    plain_total: { kind: 'counter', help: 'help' },
    known_total: { kind: 'counter', help: 'help', labels: { a: ['x', 'y'], b: ['1', '2'] } },
    partly_total: { kind: 'counter', help: 'help', labels: { a: ['x'], b: [] } },
  });
  t.strictSame(await lines(metrics), [
    'plain_total 0',
    'known_total{a="x",b="1"} 0',
    'known_total{a="x",b="2"} 0',
    'known_total{a="y",b="1"} 0',
    'known_total{a="y",b="2"} 0',
  ]);
  metrics.count('partly_total', { a: 'x', b: 'new' });
  t.ok((await lines(metrics)).includes('partly_total{a="x",b="new"} 1'));
});

void test('a summary tells quantiles of its window, sum and count', async (t) => {
  const metrics = new Metrics({
    took_seconds: {
      kind: 'summary',
      help: 'help',
      labels: { model: [] },
      quantiles: [0.5, 0.99],
      windowSeconds: 600,
    },
  });
  for (const value of [1, 2, 3]) metrics.observe('took_seconds', { model: 'm' }, value);
  t.match(await metrics.render(), /# TYPE took_seconds summary/);
  t.strictSame(await lines(metrics), [
    'took_seconds{quantile="0.5",model="m"} 2',
    'took_seconds{quantile="0.99",model="m"} 3',
    'took_seconds_sum{model="m"} 6',
    'took_seconds_count{model="m"} 3',
  ]);
});

void test('a name that is not in the table, and another kind, are mistakes of the program', async (t) => {
  const metrics: Metrics = new Metrics({
    some_total: { kind: 'counter', help: 'help' },
    some: { kind: 'gauge', help: 'help' },
  });
  t.throws(() => metrics.count('other_total', {}), /other_total is not in the table/);
  t.throws(() => metrics.set('some_total', {}, 1), /another kind/);
  t.throws(() => metrics.observe('some', {}, 1), /another kind/);
  t.throws(() => metrics.count('some', {}), /another kind/);
});

void test('what a thread measured arrives summed, replaced and as it was observed', async (t) => {
  const metrics = new StageMetrics(['ibkr']);
  const buffer = new MeterBuffer();
  for (const by of [2, 3]) buffer.count('tick_forward_total', { provider: 'ibkr' }, by);
  for (const bytes of [10, 20]) buffer.set('bus_bytes', { bus: 'redis' }, bytes);
  for (const seconds of [0.02, 7]) buffer.observe('store_bars_write_latency_seconds', {}, seconds);
  const entries = buffer.take();
  t.equal(entries.length, 4);
  t.strictSame(buffer.take(), []);
  metrics.add(entries, 'ticks');
  const found = await lines(metrics);
  for (const line of [
    'tick_forward_total{provider="ibkr"} 5',
    'tick_forward_failures_total{provider="ibkr"} 0',
    'bus_bytes{bus="redis"} 20',
    'store_bars_write_latency_seconds_bucket{le="0.025"} 1',
    'store_bars_write_latency_seconds_count 2',
  ])
    t.ok(found.includes(line), line);
});

void test('an alarm is on while any thread has it on', async (t) => {
  const metrics = new StageMetrics([]);
  const says = async (thread: string, value: number): Promise<boolean> => {
    metrics.add([['set', 'bus_full', { bus: 'redis' }, value]], thread);
    return (await lines(metrics)).includes('bus_full{bus="redis"} 1');
  };
  t.equal(await says('ticks', 0), false);
  t.equal(await says('orders', 1), true);
  t.equal(await says('ticks', 0), true);
  t.equal(await says('ticks', 1), true);
  t.equal(await says('orders', 0), true);
  t.equal(await says('ticks', 0), false);
});

void test('the series of a run go ten minutes after the last of it', async (t) => {
  let nowMs = 0;
  const clock = { nowMicros: () => 0n, monotonicMs: () => nowMs };
  const metrics = new StageMetrics([], clock);
  const shown = async (): Promise<string[]> =>
    (await lines(metrics)).filter((line) => line.startsWith('tick_replay_') && line.includes('run_id='));
  metrics.count('tick_replay_ticks_emitted_total', { provider: 'p', symbol: 'S', run_id: '1' }, 5);
  metrics.set('tick_replay_lag_ms', { run_id: '1' }, 2);
  nowMs = 300_000;
  metrics.set('tick_replay_lag_ms', { run_id: '2' }, 3);
  nowMs = 599_999;
  t.equal((await shown()).length, 3);
  nowMs = 600_000;
  t.strictSame(await shown(), ['tick_replay_lag_ms{run_id="2"} 3'], 'all of it, and nothing of another run');
  metrics.count('tick_replay_errors_total', { run_id: '1' }, 0);
  t.ok((await shown()).includes('tick_replay_errors_total{run_id="1"} 0'), 'it may go on');
});
