import { test } from 'tap';
import * as fc from 'fast-check';
import { SlidingQuantiles, WeightedHistogram } from '../../../../src/run/telemetry/histogram.ts';
import { IngestMetrics, RETRY_COMPONENTS } from '../../../../src/run/telemetry/ingest-metrics.ts';
import { Metrics } from '../../../../src/run/telemetry/metric-table.ts';
import { MonotonicFeed } from '../../../../src/run/telemetry/monotonic-feed.ts';

function setup() {
  const clock = { ms: 0, micros: 0n, nowMicros: () => clock.micros, monotonicMs: () => clock.ms };
  const metrics = new IngestMetrics({ clock, bufferCapacityTicks: 10_000, bufferCapacityBytes: 2 ** 28 });
  return { clock, metrics };
}

/** Every sample of the exposition by its name with labels, as written. */
async function samples(metrics: Pick<IngestMetrics, 'render'>): Promise<Map<string, number>> {
  const lines = (await metrics.render()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => [
      line.slice(0, line.lastIndexOf(' ')),
      Number(line.slice(line.lastIndexOf(' ') + 1)),
    ]),
  );
}

const AT_ZERO_FROM_THE_START = [
  'tick_ingester_ticks_total{status="success"}',
  'tick_ingester_ticks_total{status="error"}',
  'tick_ingester_buffer_size',
  'tick_ingester_buffer_bytes',
  'tick_ingester_write_duration_seconds_count',
  'tick_ingester_grpc_reconnects_total',
  'tick_ingester_position',
  'tick_ingester_complete_up_to',
  'tick_ingester_head_lag_ticks',
  'tick_ingester_head_lag_seconds',
  'tick_ingester_gaps{state="open"}',
  'tick_ingester_gaps{state="filled"}',
  'tick_ingester_gaps{state="unfillable"}',
  'tick_ingester_gaps{state="skipped"}',
  'tick_ingester_dead_letters{status="unresolved"}',
  'tick_ingester_dead_letters{status="resolved"}',
  'tick_ingester_duplicates_total{cause="stream"}',
  'tick_ingester_duplicates_total{cause="resume"}',
  'tick_ingester_batches_total',
  'tick_ingester_transactions_total',
  'tick_ingester_bytes_total',
  'tick_ingester_link_breaks_total',
  ...['link', 'tx_hash', 'batch_hash', 'vdf_input', 'vdf_output'].map(
    (kind) => `tick_ingester_chain_alarms_total{kind="${kind}"}`,
  ),
  'tick_ingester_batch_ticks_count',
  'tick_ingester_ambiguous_commits_total{outcome="committed"}',
  'tick_ingester_ambiguous_commits_total{outcome="absent"}',
  'tick_ingester_commit_latency_seconds_count',
  'tick_ingester_commit_latency_seconds_bucket{le="0.1"}',
  'tick_ingester_commit_latency_p50_seconds',
  'tick_ingester_commit_latency_p99_seconds',
  'tick_ingester_leader',
  'tick_ingester_epoch',
  'tick_ingester_ready',
  ...RETRY_COMPONENTS.map((component) => `retries_total{component="${component}"}`),
];

void test('series of known labels exist at 0 from the start', async (t) => {
  const found = await samples(setup().metrics);
  for (const name of AT_ZERO_FROM_THE_START) t.equal(found.get(name), 0, name);
  t.equal(found.get('tick_ingester_buffer_capacity_ticks'), 10_000);
  t.equal(found.get('tick_ingester_buffer_capacity_bytes'), 2 ** 28);
  t.ok(
    found.has('process_resident_memory_bytes') && found.has('process_cpu_user_seconds_total'),
    'process metrics',
  );
});

void test('every metric has one HELP and one TYPE, the counters of the seed among them', async (t) => {
  const text = await setup().metrics.render();
  for (const [name, type] of [
    ['tick_ingester_ticks_total', 'counter'],
    ['tick_ingester_buffer_size', 'gauge'],
    ['tick_ingester_write_duration_seconds', 'histogram'],
    ['tick_ingester_grpc_reconnects_total', 'counter'],
    ['tick_ingester_commit_latency_seconds', 'histogram'],
    ['retries_total', 'counter'],
    ['stage_heartbeat_timestamp_seconds', 'gauge'],
  ]) {
    t.equal(text.split(`# TYPE ${name} ${type}\n`).length, 2, name);
    t.equal(text.split(`# HELP ${name} `).length, 2, name);
  }
});

const BATCH = { ticks: 1, transactions: 0, bytes: 0, alarms: {}, writeMs: 1, agesMs: [1] };

void test('a committed batch counts everywhere it counts', async (t) => {
  const { metrics, clock } = setup();
  clock.ms = 5000;
  metrics.batchCommitted({
    ticks: 250,
    transactions: 500,
    bytes: 675_000,
    alarms: { link: 2, vdf_input: 1 },
    writeMs: 8,
    agesMs: [120, 90, 60, 30],
  });
  metrics.batchCommitted({ ...BATCH, writeMs: 2, agesMs: [30] });
  metrics.batchCommitted({ ...BATCH, ticks: 0, agesMs: [] }); // dead letters alone
  const found = await samples(metrics);
  t.equal(found.get('tick_ingester_ticks_total{status="success"}'), 251);
  t.equal(found.get('tick_ingester_transactions_total'), 500);
  t.equal(found.get('tick_ingester_bytes_total'), 675_000);
  t.equal(found.get('tick_ingester_link_breaks_total'), 2);
  t.equal(found.get('tick_ingester_chain_alarms_total{kind="link"}'), 2);
  t.equal(found.get('tick_ingester_chain_alarms_total{kind="vdf_input"}'), 1);
  t.equal(found.get('tick_ingester_batches_total'), 3);
  t.equal(found.get('tick_ingester_batch_ticks_sum'), 251);
  t.equal(found.get('tick_ingester_write_duration_seconds_bucket{le="0.0025"}'), 2);
  t.equal(found.get('tick_ingester_write_duration_seconds_count'), 3);
  t.equal(found.get('tick_ingester_commit_latency_seconds_count'), 251);
  t.equal(found.get('tick_ingester_commit_latency_seconds_bucket{le="+Inf"}'), 251);
  const upTo100Ms = found.get('tick_ingester_commit_latency_seconds_bucket{le="0.1"}');
  t.equal(upTo100Ms, 1 + (250 * 3) / 4, 'each age stands for its share of the batch');
  const { p50, p99 } = metrics.latencyMs();
  t.ok(p50 >= 60 && p50 <= 63 && p99 >= 120 && p99 <= 126, `${p50} ${p99}`);
});

void test('what the console printed counts as success, and as no batch', async (t) => {
  const { metrics } = setup();
  metrics.count('tick_ingester_ticks_total', { status: 'success' }, 3);
  const found = await samples(metrics);
  t.equal(found.get('tick_ingester_ticks_total{status="success"}'), 3);
  t.equal(found.get('tick_ingester_batches_total'), 0);
});

void test('the quantiles forget what is older than ten seconds', async (t) => {
  const { metrics, clock } = setup();
  clock.ms = 1000;
  metrics.batchCommitted({ ...BATCH, ticks: 1000, agesMs: [900] });
  clock.ms = 6000;
  metrics.batchCommitted({ ...BATCH, ticks: 1000, agesMs: [10, 10] });
  t.ok(metrics.latencyMs().p99 >= 900);
  clock.ms = 11_500;
  t.ok(metrics.latencyMs().p99 <= 10.5);
  clock.ms = 60_000;
  t.strictSame(metrics.latencyMs(), { p50: 0, p99: 0 });
});

void test('totals of threads survive their restart without going down', async (t) => {
  const feed = new MonotonicFeed();
  t.equal(feed.advance('reader', 10), 10);
  t.equal(feed.advance('reader', 10), 0);
  t.equal(feed.advance('other', 3), 3);
  t.equal(feed.advance('reader', 4), 4, 'restarted');
  t.equal(feed.advance('reader', 5), 1);

  const { metrics } = setup();
  for (const total of [3, 5, 1]) metrics.reconnected(total);
  metrics.count('tick_ingester_ticks_total', { status: 'error' }, 2);
  metrics.countTotal('tick_ingester_duplicates_total', { cause: 'resume' }, 'writer-1', 7);
  metrics.count('tick_ingester_duplicates_total', { cause: 'stream' });
  metrics.count('tick_ingester_ambiguous_commits_total', { outcome: 'committed' });
  metrics.count('tick_ingester_ambiguous_commits_total', { outcome: 'absent' }, 4);
  metrics.count('retries_total', { component: 'writer' });
  for (const cpuSeconds of [1.5, 0.5])
    metrics.threadReported('writer-1', { loopDelaySeconds: 0.012, cpuSeconds });
  const found = await samples(metrics);
  t.equal(found.get('tick_ingester_grpc_reconnects_total'), 6);
  t.equal(found.get('retries_total{component="grpc"}'), 6);
  t.equal(found.get('tick_ingester_ticks_total{status="error"}'), 2);
  t.equal(found.get('tick_ingester_duplicates_total{cause="resume"}'), 7);
  t.equal(found.get('tick_ingester_duplicates_total{cause="stream"}'), 1);
  t.equal(found.get('tick_ingester_ambiguous_commits_total{outcome="committed"}'), 1);
  t.equal(found.get('tick_ingester_ambiguous_commits_total{outcome="absent"}'), 4);
  t.equal(found.get('retries_total{component="writer"}'), 1);
  t.equal(found.get('tick_ingester_thread_cpu_seconds_total{thread="writer-1"}'), 2);
  t.equal(found.get('tick_ingester_event_loop_delay_p99_seconds{thread="writer-1"}'), 0.012);
});

void test('a counter of totals never falls, whatever the threads report', async () => {
  const counted = fc.array(fc.tuple(fc.constantFrom('a', 'b'), fc.nat(100)));
  await fc.assert(
    fc.asyncProperty(counted, async (reports) => {
      const metrics = new Metrics({ c: { kind: 'counter', help: 'help' } });
      const feed = new MonotonicFeed();
      let counter = 0;
      for (const [source, total] of reports) {
        const delta = feed.advance(source, total);
        if (delta < 0) throw new Error('a counter that falls');
        counter += delta;
        metrics.countTotal('c', {}, source, total);
      }
      return counter === (await samples(metrics)).get('c');
    }),
  );
});

void test('gauges show what they are given', async (t) => {
  const { metrics, clock } = setup();
  metrics.set('tick_ingester_buffer_size', {}, 42);
  metrics.set('tick_ingester_buffer_bytes', {}, 4200);
  metrics.setProgress({ position: 541_000_000n, completeUpTo: 540_999_999n, head: 541_000_500n, lagMs: 250 });
  metrics.setEach('tick_ingester_gaps', { skipped: 5 });
  metrics.setEach('tick_ingester_gaps', { open: 2, filled: 1 });
  metrics.setEach('tick_ingester_dead_letters', { unresolved: 3 });
  clock.micros = 1_755_945_303_500_000n;
  metrics.threadReported('reader', { loopDelaySeconds: 0.001, cpuSeconds: 0.01 });
  metrics.set('tick_ingester_leader', {}, 1);
  metrics.set('tick_ingester_epoch', {}, 7);
  for (const version of ['2.20.2', '2.20.3'])
    metrics.setInfo('tick_ingester_database_edition_info', { edition: 'apache', version });
  metrics.set('tick_ingester_ready', {}, 1);
  const found = await samples(metrics);
  const expected: Record<string, number> = {
    tick_ingester_buffer_size: 42,
    tick_ingester_buffer_bytes: 4200,
    tick_ingester_position: 541_000_000,
    tick_ingester_complete_up_to: 540_999_999,
    tick_ingester_head_lag_ticks: 500,
    tick_ingester_head_lag_seconds: 0.25,
    'tick_ingester_gaps{state="open"}': 2,
    'tick_ingester_gaps{state="filled"}': 1,
    'tick_ingester_gaps{state="skipped"}': 0,
    'tick_ingester_dead_letters{status="unresolved"}': 3,
    'stage_heartbeat_timestamp_seconds{stage="ingest",thread="reader"}': 1_755_945_303.5,
    tick_ingester_leader: 1,
    tick_ingester_epoch: 7,
    'tick_ingester_database_edition_info{edition="apache",version="2.20.3"}': 1,
    tick_ingester_ready: 1,
  };
  for (const [name, value] of Object.entries(expected)) t.equal(found.get(name), value, name);
  t.notOk(
    found.has('tick_ingester_database_edition_info{edition="apache",version="2.20.2"}'),
    'one edition at a time',
  );

  metrics.setProgress({ position: 10n, completeUpTo: null, head: 5n, lagMs: -3 });
  const behind = await samples(metrics);
  t.equal(behind.get('tick_ingester_head_lag_ticks'), 0, 'a head that fell behind us is no lag');
  t.equal(behind.get('tick_ingester_head_lag_seconds'), 0);
});

void test('weights count as that many observations', async () => {
  const bounds = [1, 2, 5];
  const observations = fc.array(
    fc.record({ value: fc.double({ min: 0, max: 10, noNaN: true }), weight: fc.integer({ min: 1, max: 9 }) }),
  );
  await fc.assert(
    fc.asyncProperty(observations, async (list) => {
      const histogram = new WeightedHistogram('h', 'help', bounds);
      for (const { value, weight } of list) histogram.observe(value, weight);
      const { values } = await histogram.asMetric().get();
      const upTo = (limit: number) =>
        list.filter(({ value }) => value <= limit).reduce((sum, { weight }) => sum + weight, 0);
      const counts = values.filter(({ metricName }) => metricName !== 'h_sum').map(({ value }) => value);
      return JSON.stringify(counts) === JSON.stringify([...bounds.map(upTo), upTo(Infinity), upTo(Infinity)]);
    }),
  );
});

void test('a quantile is at most five percent above the true one', async () => {
  const values = fc.array(fc.double({ min: 0.1, max: 100_000, noNaN: true }), { minLength: 1 });
  fc.assert(
    fc.property(values, fc.constantFrom(0.5, 0.99, 1), (list, rank) => {
      const window = new SlidingQuantiles(10);
      for (const value of list) window.observe(0, value, 1);
      const exact = list.toSorted((a, b) => a - b)[Math.ceil(list.length * rank) - 1];
      const [found] = window.quantiles(0, rank) as [number];
      return exact !== undefined && found >= exact && found <= exact * 1.0501;
    }),
  );
});
