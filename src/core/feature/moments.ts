import type { LogReturns } from './series/returns.ts';

/**
 * Volatility, skewness and kurtosis of the last n log returns of closes. Computed anew from the window, at most once after each cell
 * that closed: two passes over at most an hour of cells, in which no error can pile up.
 */
export class ReturnMoments {
  readonly #count: number;
  readonly #returns: LogReturns;
  readonly #window: Float64Array;
  #seen = -1;
  /** deviations from the mean to the powers 2, 3 and 4, each the mean over the window */
  #m2 = NaN;
  #m3 = NaN;
  #m4 = NaN;

  /** @param count n: the window divided by the grid */
  constructor(count: number, returns: LogReturns) {
    this.#count = count;
    this.#returns = returns;
    this.#window = new Float64Array(count);
  }

  /** Sample standard deviation (ddof 1); NaN until warm. */
  deviation(): number {
    this.#update();
    return Math.sqrt((this.#m2 * this.#count) / (this.#count - 1));
  }

  /** Unbiased; NaN until warm and where all returns are equal. */
  skewness(): number {
    const n = this.#count;
    this.#update();
    if (this.#m2 === 0) return NaN;
    return ((Math.sqrt(n * (n - 1)) / (n - 2)) * this.#m3) / this.#m2 ** 1.5;
  }

  /** Unbiased excess; NaN until warm and where all returns are equal. */
  kurtosis(): number {
    const n = this.#count;
    this.#update();
    if (this.#m2 === 0) return NaN;
    const biased = this.#m4 / (this.#m2 * this.#m2) - 3;
    return ((n - 1) / ((n - 2) * (n - 3))) * ((n + 1) * biased + 6);
  }

  #update(): void {
    if (this.#returns.count === this.#seen) return;
    this.#seen = this.#returns.count;
    if (this.#returns.newest(this.#count, this.#window)) this.#compute(this.#window);
    else this.#m2 = this.#m3 = this.#m4 = NaN;
  }

  #compute(values: Float64Array): void {
    const n = values.length;
    const first = values[0];
    let sum = 0;
    let isConstant = true;
    for (let at = 0; at < n; at += 1) {
      sum += values[at];
      if (values[at] !== first) isConstant = false;
    }
    // the mean of equal numbers may differ from them by a rounding
    if (isConstant) {
      this.#m2 = this.#m3 = this.#m4 = 0;
      return;
    }
    const mean = sum / n;
    let [s1, s2, s3, s4] = [0, 0, 0, 0];
    for (let at = 0; at < n; at += 1) {
      const off = values[at] - mean;
      const square = off * off;
      s1 += off;
      s2 += square;
      s3 += square * off;
      s4 += square * square;
    }
    // what the mean itself was rounded by
    this.#m2 = (s2 - (s1 * s1) / n) / n;
    this.#m3 = s3 / n;
    this.#m4 = s4 / n;
  }
}
