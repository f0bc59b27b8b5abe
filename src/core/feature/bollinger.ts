import type { CloseFollower } from './series/closes.ts';
import type { StateIn, StateOut } from './series/state.ts';

const CLOSES = 20;
/** of this size and its inverse, distances can be squared */
const SQUARED_MAX = 2 ** 500;

/** (close − mean of 20 closes) / (2σ), σ with ddof 0: where the close is between the bands −1 and 1. (J. Bollinger.) */
export class Bollinger implements CloseFollower {
  readonly #closes = new Float64Array(CLOSES);
  #count = 0;

  closed(close: number): void {
    this.#closes[this.#count % CLOSES] = close;
    this.#count += 1;
  }

  stoodStill(close: number, cells: number): void {
    for (let at = 0; at < Math.min(cells, CLOSES); at += 1) this.#closes[(this.#count + at) % CLOSES] = close;
    this.#count += cells;
  }

  /** NaN until there are 20 closes, and while they are equal. */
  value(): number {
    if (this.#count < CLOSES) return NaN;
    const closes = this.#closes;
    const close = closes[(this.#count - 1) % CLOSES];
    let widest = 0;
    for (let at = 0; at < CLOSES; at += 1) widest = Math.max(widest, Math.abs(closes[at] / 2 - close / 2));
    if (widest === 0) return NaN;
    const unit = widest < SQUARED_MAX && widest > 1 / SQUARED_MAX ? 1 : widest;
    // distances from one of them lose nothing of the digits that two prices have in common
    let sum = 0;
    for (let at = 0; at < CLOSES; at += 1) sum += distance(closes[at], close, unit);
    const mean = sum / CLOSES;
    let squares = 0;
    for (let at = 0; at < CLOSES; at += 1) squares += (distance(closes[at], close, unit) - mean) ** 2;
    return -mean / (2 * Math.sqrt(squares / CLOSES));
  }

  save(out: StateOut): void {
    out.f64(this.#count);
    out.f64s(this.#closes);
  }

  load(state: StateIn): void {
    this.#count = state.f64();
    state.f64sInto(this.#closes);
  }
}

function distance(price: number, from: number, unit: number): number {
  return unit === 1 ? price - from : price / unit - from / unit;
}
