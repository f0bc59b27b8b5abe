import type { CloseFollower } from './closes.ts';
import type { StateIn, StateOut } from './state.ts';

/** The newest log returns of closes: as many as the longest window needs. */
export class LogReturns implements CloseFollower {
  readonly #values: Float64Array;
  #count = 0;

  /** @param capacity how many are kept */
  constructor(capacity: number) {
    this.#values = new Float64Array(capacity);
  }

  /** How many there ever were. */
  get count(): number {
    return this.#count;
  }

  /** The newest `count` ones in the order of time; false while there are fewer. */
  newest(count: number, into: Float64Array): boolean {
    if (this.#count < count) return false;
    const { length } = this.#values;
    const end = this.#count % length;
    const wrapped = Math.max(0, count - end);
    into.set(this.#values.subarray(length - wrapped, length));
    into.set(this.#values.subarray(end - (count - wrapped), end), wrapped);
    return true;
  }

  closed(close: number, before: number | null): void {
    if (before === null) return;
    this.#values[this.#count % this.#values.length] = logReturn(close, before);
    this.#count += 1;
  }

  stoodStill(close: number, cells: number): void {
    const { length } = this.#values;
    const still = logReturn(close, close);
    if (cells >= length) this.#values.fill(still);
    else for (let at = 0; at < cells; at += 1) this.#values[(this.#count + at) % length] = still;
    this.#count += cells;
  }

  save(out: StateOut): void {
    out.f64(this.#count);
    out.f64s(this.#values);
  }

  load(state: StateIn): void {
    this.#count = state.f64();
    state.f64sInto(this.#values);
  }
}

/** NaN where a price is at or below zero: it has no logarithm. */
export function logReturn(close: number, before: number): number {
  if (!(close > 0 && before > 0)) return NaN;
  const ratio = close / before;
  // The difference of two near prices is exact, but their quotient would round most of it away: of 1e8 and 1e8 + 0.01 it has 6 digits.
  if (ratio >= 0.5 && ratio <= 2) return Math.log1p((close - before) / before);
  return Math.log(close) - Math.log(before);
}
