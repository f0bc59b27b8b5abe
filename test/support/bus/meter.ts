import type { Labels, Meter } from '../../../src/stream/meter.ts';

/** Remembers the sums and the last values, by name and labels: `name{a=1,b=2}`. */
export class TestMeter implements Meter {
  readonly values = new Map<string, number>();

  count(name: string, labels: Labels, by = 1): void {
    const key = keyOf(name, labels);
    this.values.set(key, (this.values.get(key) ?? 0) + by);
  }

  set(name: string, labels: Labels, value: number): void {
    this.values.set(keyOf(name, labels), value);
  }

  observe(name: string, labels: Labels, value: number): void {
    this.values.set(keyOf(name, labels), value);
  }
}

function keyOf(name: string, labels: Labels): string {
  const pairs = Object.entries(labels).map(([label, value]) => `${label}=${value}`);
  return `${name}{${pairs.join(',')}}`;
}
