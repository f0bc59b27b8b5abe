import type { CloseFollower } from './series/closes.ts';
import type { StateIn, StateOut } from './series/state.ts';

const CLOSES = 20;

/** (close − mean of 20 closes) / (2σ), σ with ddof 0: where the close is between the bands −1 and 1. (J. Bollinger.) */
export class Bollinger implements CloseFollower {
  readonly #closes = new Float64Array(CLOSES);
  #count = 0;

  closed(close: number): void {
    this.#closes[this.#count % CLOSES] = close;
    this.#count += 1;
  }

  stoodStill(): void {
    this.#closes.fill(this.#closes[(this.#count - 1) % CLOSES]);
    this.#count += CLOSES;
  }

  /** NaN until there are 20 closes, and while they are equal. */
  value(): number {
    if (this.#count < CLOSES) return NaN;
    const close = this.#closes[(this.#count - 1) % CLOSES];
    // distances from one of them lose nothing of the digits that two prices have in common
    let sum = 0;
    let squares = 0;
    for (const each of this.#closes) sum += each - close;
    const mean = sum / CLOSES;
    for (const each of this.#closes) squares += (each - close - mean) ** 2;
    const deviation = Math.sqrt(squares / CLOSES);
    return deviation === 0 ? NaN : -mean / (2 * deviation);
  }

  save(out: StateOut): void {
    out.f64(this.#count);
    out.f64s(this.#closes);
  }

  load(state: StateIn): void {
    this.#count = state.f64();
    this.#closes.set(state.f64s().subarray(0, CLOSES));
  }
}
