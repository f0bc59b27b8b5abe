/**
 * The registry of one port is built from one table of metric descriptions. Callers refer to a metric by its name there,
 * so that a new one is a line in the table and a call where it happens.
 */
import { Counter, Gauge, Histogram, Registry, Summary } from 'prom-client';
import { systemClock, type Clock } from '../../core/time.ts';
import type { Labels, Meter } from '../../stream/meter.ts';
import { ExpiringSeries } from './expiring-series.ts';
import { WeightedHistogram } from './histogram.ts';
import { seriesKey } from './meter-buffer.ts';
import { MonotonicFeed } from './monotonic-feed.ts';

interface Described {
  help: string;
  /**
   * By label, its values known in advance; [] = any. Series of known values exist at 0 from the start: a rate
   * over a series that appears with its first error misses that error.
   */
  labels?: Readonly<Record<string, readonly string[]>>;
  /** a label whose values end, as runs do: series go when nothing of their value was measured for 10 minutes */
  expiresBy?: string;
}

export type MetricDescription = Described &
  (
    | { kind: 'counter' | 'gauge' }
    /** buckets: upper limits, ascending, in the unit of the name. weighted: one call may stand for many observations */
    | { kind: 'histogram' | 'weighted histogram'; buckets: readonly number[] }
    /** quantiles (0…1) over the last `windowSeconds` */
    | { kind: 'summary'; quantiles: readonly number[]; windowSeconds: number }
  );

export type MetricTable = Readonly<Record<string, MetricDescription>>;

/** A summary's window slides in this many parts. */
const SUMMARY_PARTS = 5;

type Metric = Counter | Gauge | Histogram | Summary | WeightedHistogram;
type MetricClass<M extends Metric> = abstract new (...args: never[]) => M;

/** The registry of a port, by the names of its table. Another name, or the wrong kind of metric, is a broken invariant. */
export class Metrics<Name extends string = string> implements Meter {
  protected readonly registry = new Registry();
  readonly #table: Readonly<Record<Name, MetricDescription>>;
  readonly #metrics = new Map<string, Metric>();
  readonly #totals = new MonotonicFeed();
  readonly #expiring: ExpiringSeries;

  constructor(table: Readonly<Record<Name, MetricDescription>>, clock: Clock = systemClock) {
    this.#table = table;
    this.#expiring = new ExpiringSeries(clock);
    for (const [name, described] of Object.entries<MetricDescription>(table))
      this.#metrics.set(name, create(name, described, this.registry));
  }

  count(name: Name, labels: Labels, by = 1): void {
    this.#touch(name, labels);
    this.#metric(name, Counter).inc(labels, by);
  }

  /** Counts what `source` (a thread) has counted by itself, given its total so far. */
  countTotal(name: Name, labels: Labels, source: string, total: number): void {
    this.count(name, labels, this.#totals.advance(`${seriesKey(name, labels)}\u0000${source}`, total));
  }

  set(name: Name, labels: Labels, value: number): void {
    this.#touch(name, labels);
    this.#metric(name, Gauge).set(labels, value);
  }

  /** A gauge with one label, over all its known values: those without an entry are 0. */
  setEach(name: Name, values: Readonly<Record<string, number>>): void {
    const [label, known] = Object.entries(this.#table[name].labels ?? {})[0];
    for (const value of known) this.set(name, { [label]: value }, values[value] ?? 0);
  }

  /** An info gauge: only the series of these labels, at 1. */
  setInfo(name: Name, labels: Labels): void {
    this.#metric(name, Gauge).reset();
    this.set(name, labels, 1);
  }

  /** @param weight how many observations this one stands for; other than 1 for weighted histograms alone */
  observe(name: Name, labels: Labels, value: number, weight = 1): void {
    const metric = this.#metrics.get(name);
    if (metric instanceof WeightedHistogram) metric.observe(value, weight);
    else if (metric instanceof Summary) metric.observe(labels, value);
    else this.#metric(name, Histogram).observe(labels, value);
  }

  /** Everything in Prometheus' text format 0.0.4. */
  render(): Promise<string> {
    for (const { name, labels } of this.#expiring.takeExpired()) {
      const metric = this.#metrics.get(name);
      if (metric instanceof Counter || metric instanceof Gauge) metric.remove(labels);
    }
    return this.registry.metrics();
  }

  #touch(name: Name, labels: Labels): void {
    const label = this.#table[name]?.expiresBy;
    if (label !== undefined) this.#expiring.touch(labels[label], name, labels);
  }

  #metric<M extends Metric>(name: string, kind: MetricClass<M>): M {
    const metric = this.#metrics.get(name);
    if (metric === undefined) throw new Error(`metric ${name} is not in the table`);
    if (!(metric instanceof kind)) throw new Error(`metric ${name} is of another kind in the table`);
    return metric;
  }
}

function create(name: string, described: MetricDescription, registry: Registry): Metric {
  const { help, labels = {} } = described;
  const common = { name, help, labelNames: Object.keys(labels), registers: [registry] };
  switch (described.kind) {
    case 'counter': {
      const counter = new Counter(common);
      for (const series of knownSeries(labels)) counter.inc(series, 0);
      return counter;
    }
    case 'gauge': {
      const gauge = new Gauge(common);
      for (const series of knownSeries(labels)) gauge.set(series, 0);
      return gauge;
    }
    case 'histogram': {
      const histogram = new Histogram({ ...common, buckets: [...described.buckets] });
      for (const series of knownSeries(labels)) histogram.zero(series);
      return histogram;
    }
    case 'weighted histogram': {
      const histogram = new WeightedHistogram(name, help, described.buckets);
      registry.registerMetric(histogram.asMetric());
      return histogram;
    }
    case 'summary':
      return new Summary({
        ...common,
        percentiles: [...described.quantiles],
        maxAgeSeconds: described.windowSeconds,
        ageBuckets: SUMMARY_PARTS,
      });
  }
}

/** Every combination of the known values; none where a label has no known ones. */
function knownSeries(labels: NonNullable<Described['labels']>): Labels[] {
  let series: Labels[] = [{}];
  for (const [label, values] of Object.entries(labels))
    series = series.flatMap((one) => values.map((value) => ({ ...one, [label]: value })));
  return series;
}
