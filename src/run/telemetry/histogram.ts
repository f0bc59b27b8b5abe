/** Histograms that prom-client lacks: many equal observations at once, and quantiles over the last seconds. */
import type { Histogram } from 'prom-client';

/** A Prometheus histogram whose observations have a weight: one call counts all ticks of a batch. */
export class WeightedHistogram {
  readonly #name: string;
  readonly #help: string;
  readonly #bounds: readonly number[];
  /** one more than bounds: the last counts values beyond them */
  readonly #counts: Float64Array;
  #sum = 0;

  /** `bounds` are upper limits, ascending, in the metric's unit */
  constructor(name: string, help: string, bounds: readonly number[]) {
    this.#name = name;
    this.#help = help;
    this.#bounds = bounds;
    this.#counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number, weight: number): void {
    this.#counts[indexFor(this.#bounds, value)] += weight;
    this.#sum += value * weight;
  }

  /** In the shape that prom-client's registry reads; its types allow only its own classes. */
  asMetric(): Histogram {
    return {
      name: this.#name,
      help: this.#help,
      type: 'histogram',
      aggregator: 'sum',
      get: async () => ({
        name: this.#name,
        help: this.#help,
        type: 'histogram',
        aggregator: 'sum',
        values: this.#values(),
      }),
    } as unknown as Histogram;
  }

  #values(): { metricName: string; labels: { le?: number | string }; value: number }[] {
    let cumulative = 0;
    const buckets = [...this.#bounds, '+Inf'].map((le, index) => {
      cumulative += this.#counts[index];
      return { metricName: `${this.#name}_bucket`, labels: { le }, value: cumulative };
    });
    return [
      ...buckets,
      { metricName: `${this.#name}_sum`, labels: {}, value: this.#sum },
      { metricName: `${this.#name}_count`, labels: {}, value: cumulative },
    ];
  }
}

/** From 0.05 ms to 200 s in steps of 5 %: the error of a quantile. */
const FINE_BOUNDS_MS = geometric(0.05, 200_000, 1.05);

/** Quantiles over the last seconds, from a ring of one fine histogram a second. */
export class SlidingQuantiles {
  readonly #seconds: { second: number; counts: Float64Array }[];

  constructor(windowSeconds: number) {
    this.#seconds = Array.from({ length: windowSeconds }, () => ({
      second: -1,
      counts: new Float64Array(FINE_BOUNDS_MS.length + 1),
    }));
  }

  observe(nowMs: number, valueMs: number, weight: number): void {
    const second = Math.floor(nowMs / 1000);
    const slot = this.#seconds[second % this.#seconds.length];
    if (slot.second !== second) {
      slot.second = second;
      slot.counts.fill(0);
    }
    slot.counts[indexFor(FINE_BOUNDS_MS, valueMs)] += weight;
  }

  /** Upper limits of the buckets that hold the quantiles, in ms; 0 when nothing was seen in the window. */
  quantiles(nowMs: number, ...ranks: number[]): number[] {
    const oldest = Math.floor(nowMs / 1000) - this.#seconds.length + 1;
    const total = new Float64Array(FINE_BOUNDS_MS.length + 1);
    let count = 0;
    for (const slot of this.#seconds.filter(({ second }) => second >= oldest)) {
      for (const [index, weight] of slot.counts.entries()) {
        total[index] += weight;
        count += weight;
      }
    }
    return ranks.map((rank) => (count === 0 ? 0 : quantileOf(total, count * rank)));
  }
}

function quantileOf(counts: Float64Array, target: number): number {
  let seen = 0;
  for (const [index, weight] of counts.entries()) {
    seen += weight;
    if (weight > 0 && seen >= target) return FINE_BOUNDS_MS[Math.min(index, FINE_BOUNDS_MS.length - 1)];
  }
  return FINE_BOUNDS_MS.at(-1)!;
}

function indexFor(bounds: readonly number[], value: number): number {
  let low = 0;
  let high = bounds.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (bounds[middle] >= value) high = middle;
    else low = middle + 1;
  }
  return low;
}

function geometric(first: number, last: number, factor: number): number[] {
  const bounds: number[] = [];
  for (let bound = first; bound < last * factor; bound *= factor) bounds.push(bound);
  return bounds;
}
