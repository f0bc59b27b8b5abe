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

  /** The newest `count` ones, in no particular order of time; null while there are fewer. The array is overwritten by the next one. */
  newest(count: number, into: Float64Array): boolean {
    if (this.#count < count) return false;
    const { length } = this.#values;
    for (let back = 0; back < count; back += 1)
      into[count - 1 - back] = this.#values[(this.#count - 1 - back) % length];
    return true;
  }

  closed(close: number, before: number | null): void {
    if (before === null) return;
    // no logarithm of prices at or below zero: NaN until it has left the window
    this.#values[this.#count % this.#values.length] = close === before ? 0 : Math.log(close / before);
    this.#count += 1;
  }

  stoodStill(): void {
    this.#values.fill(0);
    this.#count += this.#values.length;
  }

  save(out: StateOut): void {
    out.f64(this.#count);
    out.f64s(this.#values);
  }

  load(state: StateIn): void {
    this.#count = state.f64();
    const values = state.f64s();
    if (values.length !== this.#values.length)
      throw new RangeError(`${values.length} returns are not ${this.#values.length}`);
    this.#values.set(values);
  }
}
