import type { Clock } from '../../core/time.ts';
import type { Labels } from '../../stream/meter.ts';
import { seriesKey } from './meter-buffer.ts';

/** Series go when their run was not measured for so long, ms: 10 minutes after its end. */
const EXPIRY_MS = 10 * 60_000;

interface Series {
  name: string;
  labels: Labels;
}

/** The series of metrics that belong to something that ends, such as a run. */
export class ExpiringSeries {
  readonly #clock: Clock;
  readonly #runs = new Map<string, { touchedMs: number; series: Map<string, Series> }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @param value of the label that says what a series belongs to */
  touch(value: string, name: string, labels: Labels): void {
    const touchedMs = this.#clock.monotonicMs();
    const run = this.#runs.get(value) ?? { touchedMs, series: new Map<string, Series>() };
    run.touchedMs = touchedMs;
    run.series.set(seriesKey(name, labels), { name, labels });
    this.#runs.set(value, run);
  }

  /** Those whose time is over; they are forgotten. */
  takeExpired(): Series[] {
    const before = this.#clock.monotonicMs() - EXPIRY_MS;
    const expired: Series[] = [];
    for (const [value, { touchedMs, series }] of this.#runs) {
      if (touchedMs > before) continue;
      expired.push(...series.values());
      this.#runs.delete(value);
    }
    return expired;
  }
}
