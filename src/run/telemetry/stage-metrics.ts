/** What METRICS_PORT serves: the metrics of every stage on the bus, one table of names, labels and buckets. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Labels, Meter } from '../../stream/meter.ts';

interface Described {
  kind: 'counter' | 'gauge' | 'histogram';
  help: string;
  labels: readonly string[];
  buckets?: readonly number[];
  /** series that exist at 0 from the start */
  initial?: readonly Labels[];
}

const WRITE_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

const WINDOW_MS = [
  100, 250, 500, 750, 1000, 1500, 2000, 2500, 3000, 4000, 5000, 7500, 10_000, 30_000, 60_000, 120_000,
];

/** Names and labels as the dashboards ask for them; the others are what operators need beside them. */
const METRICS: Readonly<Record<string, Described>> = {
  stream_events_ingested_total: {
    kind: 'counter',
    help: 'Events that the bus has taken.',
    labels: ['bus', 'topic', 'provider'],
  },
  stream_consumer_lag_ms: {
    kind: 'gauge',
    help: 'Age of the oldest record of the group not yet acknowledged, by the clock of the bus.',
    labels: ['topic', 'group', 'consumer'],
  },
  tick_forward_total: {
    kind: 'counter',
    help: 'Market ticks that are in the store, those that came again included.',
    labels: ['provider'],
  },
  tick_forward_failures_total: {
    kind: 'counter',
    help: 'Market ticks that the store does not take: they are dead letters.',
    labels: ['provider'],
  },
  tick_collisions_total: {
    kind: 'counter',
    help: 'Market ticks with the key of a stored one and another content.',
    labels: [],
    initial: [{}],
  },
  store_write_duration_seconds: {
    kind: 'histogram',
    help: 'A batch, from the first statement to what follows its commit.',
    labels: ['table'],
    buckets: WRITE_SECONDS,
    initial: [{ table: 'tick_data' }, { table: 'bars_ohlcv' }],
  },
  store_bars_write_latency_seconds: {
    kind: 'histogram',
    help: 'The same for all tables.',
    labels: [],
    buckets: WRITE_SECONDS,
    initial: [{}],
  },
  errors_total: {
    kind: 'counter',
    help: 'Records that became dead letters, and errors that are not tried again.',
    labels: ['component', 'reason'],
  },
  retries_total: {
    kind: 'counter',
    help: 'Attempts after the first, by component.',
    labels: ['component'],
    initial: [
      { component: 'micro_batch_bus' },
      { component: 'micro_batch_database' },
      { component: 'tick_consumer_bus' },
      { component: 'tick_consumer_database' },
      ...['synthetic', 'ibkr', 'orders', 'orders_database', 'ibkr_tws'].map((part) => ({
        component: `producer_${part}`,
      })),
    ],
  },
  microbatch_flush_total: {
    kind: 'counter',
    help: 'Windows whose bar was written.',
    labels: ['window_ms', 'symbol'],
  },
  microbatch_flush_rows: {
    kind: 'counter',
    help: 'Rows of bars that were added or changed, rollups included.',
    labels: ['window_ms'],
  },
  microbatch_window_latency_ms: {
    kind: 'histogram',
    help: 'From the ingest time of the oldest event of a window to the commit of its bar.',
    labels: [],
    buckets: WINDOW_MS,
    initial: [{}],
  },
  microbatch_active_windows: { kind: 'gauge', help: 'Windows that are open.', labels: [], initial: [{}] },
  microbatch_late_windows: {
    kind: 'gauge',
    help: 'Closed windows with a late event that wait for the tick consumer.',
    labels: [],
    initial: [{}],
  },
  microbatch_late_total: {
    kind: 'counter',
    help: 'Events whose window was closed, by what became of them.',
    labels: ['policy'],
    initial: [{ policy: 'revise' }, { policy: 'drop' }, { policy: 'dlq' }],
  },
  microbatch_revisions_total: {
    kind: 'counter',
    help: 'Windows whose bar changed, or came into being, after they were closed.',
    labels: [],
    initial: [{}],
  },
  microbatch_repeats_total: {
    kind: 'counter',
    help: 'Events that were in their open window already.',
    labels: [],
    initial: [{}],
  },
  microbatch_skipped_total: {
    kind: 'counter',
    help: 'Bar events that are in no bar, by why.',
    labels: ['reason'],
    initial: [
      { reason: 'too_long' },
      { reason: 'straddles' },
      { reason: 'ticks_seen' },
      { reason: 'overlaps' },
    ],
  },
  stage_heartbeat_timestamp_seconds: {
    kind: 'gauge',
    help: 'When a stage last made progress or waited for a known reason.',
    labels: ['stage'],
  },
  orders_read_total: {
    kind: 'counter',
    help: 'Transactions of the chain that the stage orders looked at, by what they are.',
    labels: ['kind'],
    initial: [{ kind: 'order' }],
  },
  bus_bytes: { kind: 'gauge', help: 'What the bus holds.', labels: ['bus'] },
  bus_max_bytes: { kind: 'gauge', help: 'What the bus may hold.', labels: ['bus'] },
  bus_full: {
    kind: 'gauge',
    help: '1 while producers wait because the bus is above 80 % of what it may hold.',
    labels: ['bus'],
  },
  bus_trimmed_total: { kind: 'counter', help: 'Records trimmed.', labels: ['bus'] },
  bus_pending: {
    kind: 'gauge',
    help: 'Records handed out to a group and not acknowledged.',
    labels: ['topic', 'group'],
  },
  bus_group_lag: {
    kind: 'gauge',
    help: 'Records not yet handed out to a group.',
    labels: ['topic', 'group'],
  },
  bus_forwarded_total: {
    kind: 'counter',
    help: 'Records that lay in another partition than that of their symbol.',
    labels: ['topic', 'group'],
  },
};

const OF_PROVIDERS = ['tick_forward_total', 'tick_forward_failures_total'];

type Metric = Counter | Gauge | Histogram;

/** The registry of this process; stages in threads send what they measured (MeterBuffer). */
export class StageMetrics implements Meter {
  readonly #registry = new Registry();
  readonly #metrics = new Map<string, Metric>();

  /** @param providers those whose series exist at 0 from the start; others begin with their first event */
  constructor(providers: readonly string[]) {
    for (const [name, described] of Object.entries(METRICS)) this.#create(name, described);
    for (const provider of new Set(providers)) {
      for (const name of OF_PROVIDERS) this.count(name, { provider }, 0);
    }
  }

  count(name: string, labels: Labels, by = 1): void {
    (this.#metric(name) as Counter).inc(labels, by);
  }

  set(name: string, labels: Labels, value: number): void {
    (this.#metric(name) as Gauge).set(labels, value);
  }

  observe(name: string, labels: Labels, value: number): void {
    (this.#metric(name) as Histogram).observe(labels, value);
  }

  /** What a MeterBuffer of another thread held. */
  add(entries: readonly MeterEntry[]): void {
    for (const [kind, name, labels, value] of entries) this[kind](name, labels, value);
  }

  /** Prometheus' text format. */
  render(): Promise<string> {
    return this.#registry.metrics();
  }

  #create(name: string, { kind, help, labels, buckets, initial = [] }: Described): void {
    const common = { name, help, labelNames: [...labels], registers: [this.#registry] };
    const metric =
      kind === 'counter'
        ? new Counter(common)
        : kind === 'gauge'
          ? new Gauge(common)
          : new Histogram({ ...common, buckets: [...(buckets ?? WRITE_SECONDS)] });
    for (const series of initial) {
      if (metric instanceof Counter) metric.inc(series, 0);
      else if (metric instanceof Histogram) metric.zero(series);
      else metric.set(series, 0);
    }
    this.#metrics.set(name, metric);
  }

  #metric(name: string): Metric {
    const metric = this.#metrics.get(name);
    if (metric === undefined) throw new Error(`metric ${name} is not in the table`);
    return metric;
  }
}

export type MeterEntry = readonly [
  kind: 'count' | 'set' | 'observe',
  name: string,
  labels: Labels,
  value: number,
];

/** Observations kept between two flushes; beyond it the oldest half goes: a distribution and not a sum is lost. */
const OBSERVATIONS_MAX = 20_000;

/** Measures in a thread, until the thread sends it: counts are added up, gauges replaced, observations kept. */
export class MeterBuffer implements Meter {
  readonly #sums = new Map<string, [name: string, labels: Labels, value: number]>();
  readonly #gauges = new Map<string, [name: string, labels: Labels, value: number]>();
  #observed: MeterEntry[] = [];

  count(name: string, labels: Labels, by = 1): void {
    const key = keyOf(name, labels);
    const entry = this.#sums.get(key);
    if (entry === undefined) this.#sums.set(key, [name, labels, by]);
    else entry[2] += by;
  }

  set(name: string, labels: Labels, value: number): void {
    this.#gauges.set(keyOf(name, labels), [name, labels, value]);
  }

  observe(name: string, labels: Labels, value: number): void {
    if (this.#observed.length >= OBSERVATIONS_MAX) this.#observed.splice(0, OBSERVATIONS_MAX / 2);
    this.#observed.push(['observe', name, labels, value]);
  }

  /** Everything since the last call. */
  take(): MeterEntry[] {
    const entries: MeterEntry[] = [
      ...[...this.#sums.values()].map(([name, labels, value]): MeterEntry => ['count', name, labels, value]),
      ...[...this.#gauges.values()].map(([name, labels, value]): MeterEntry => ['set', name, labels, value]),
      ...this.#observed,
    ];
    this.#sums.clear();
    this.#gauges.clear();
    this.#observed = [];
    return entries;
  }
}

function keyOf(name: string, labels: Labels): string {
  return `${name}\u0000${Object.entries(labels).flat().join('\u0000')}`;
}
