import type { StateIn, StateOut } from './series/state.ts';

const SECOND_US = 1_000_000;
const SECONDS = 300;
const KEPT = SECONDS + 1;

/** Ticks of the last whole second against the 300 seconds before it, zeros included: (n − mean) / standard deviation (ddof 1). */
export class TickRate {
  /** whole seconds, the newest at #whole − 1 */
  readonly #counts = new Float64Array(KEPT);
  #whole = 0;
  /** the second that is not over */
  #second: number | null = null;
  #open = 0;
  #valueAt = -1;
  #value = NaN;

  advance(atUs: number): void {
    const second = Math.floor(atUs / SECOND_US);
    if (this.#second === null || second <= this.#second) return;
    const passed = second - this.#second;
    this.#second = second;
    this.#push(this.#open);
    this.#open = 0;
    for (let empty = 1; empty < Math.min(passed, KEPT + 1); empty += 1) this.#push(0);
  }

  /** After advance() to the tick's time. */
  add(tsUs: number): void {
    this.#second ??= Math.floor(tsUs / SECOND_US);
    this.#open += 1;
  }

  /** NaN until there are 301 whole seconds, and where the 300 are equal. */
  value(): number {
    if (this.#whole < KEPT) return NaN;
    if (this.#valueAt !== this.#whole) {
      this.#valueAt = this.#whole;
      this.#value = this.#compute();
    }
    return this.#value;
  }

  #compute(): number {
    const last = (this.#whole - 1) % KEPT;
    let sum = 0;
    for (const count of this.#counts) sum += count;
    const mean = (sum - this.#counts[last]) / SECONDS;
    let squares = 0;
    for (let at = 0; at < KEPT; at += 1) if (at !== last) squares += (this.#counts[at] - mean) ** 2;
    const deviation = Math.sqrt(squares / (SECONDS - 1));
    return deviation === 0 ? NaN : (this.#counts[last] - mean) / deviation;
  }

  #push(count: number): void {
    this.#counts[this.#whole % KEPT] = count;
    this.#whole += 1;
  }

  save(out: StateOut): void {
    out.f64(this.#second ?? NaN);
    out.f64(this.#open);
    out.f64(this.#whole);
    out.f64s(this.#counts);
  }

  load(state: StateIn): void {
    const second = state.f64();
    this.#second = Number.isNaN(second) ? null : second;
    this.#open = state.f64();
    this.#whole = state.f64();
    this.#counts.set(state.f64s().subarray(0, KEPT));
    this.#valueAt = -1;
  }
}
