import type { Labels, Meter } from '../../stream/meter.ts';

/** One recorded call of a Meter. */
export type MeterEntry = readonly [
  kind: 'count' | 'set' | 'observe',
  name: string,
  labels: Labels,
  value: number,
];

/** Observations kept between two flushes; beyond it the oldest half is dropped: distributions lose data, sums do not. */
const OBSERVATIONS_MAX = 20_000;

/** Collects a thread's measurements until it sends them: counts are added up, gauges replaced, observations kept. */
export class MeterBuffer implements Meter {
  readonly #sums = new Map<string, [name: string, labels: Labels, value: number]>();
  readonly #gauges = new Map<string, [name: string, labels: Labels, value: number]>();
  #observed: MeterEntry[] = [];

  count(name: string, labels: Labels, by = 1): void {
    const key = seriesKey(name, labels);
    const entry = this.#sums.get(key);
    if (entry === undefined) this.#sums.set(key, [name, labels, by]);
    else entry[2] += by;
  }

  set(name: string, labels: Labels, value: number): void {
    this.#gauges.set(seriesKey(name, labels), [name, labels, value]);
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

/** One key for a metric and its labels. */
export function seriesKey(name: string, labels: Labels): string {
  return `${name}\u0000${Object.entries(labels).flat().join('\u0000')}`;
}
