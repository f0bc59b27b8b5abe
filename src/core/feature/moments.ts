import type { LogReturns } from './series/returns.ts';

/** deviations from the mean to the powers 2, 3 and 4, each the mean over the window */
interface Moments {
  m2: number;
  m3: number;
  m4: number;
}

/**
 * Volatility, skewness and kurtosis of the last n log returns of closes. Computed anew from the window, at most once after each cell
 * that closed: two passes over at most an hour of cells, in which no error can pile up.
 */
export class ReturnMoments {
  readonly #count: number;
  readonly #returns: LogReturns;
  readonly #window: Float64Array;
  #seen = -1;
  #moments: Moments | null = null;

  /** @param count n: the window divided by the grid */
  constructor(count: number, returns: LogReturns) {
    this.#count = count;
    this.#returns = returns;
    this.#window = new Float64Array(count);
  }

  /** Sample standard deviation (ddof 1); NaN until warm. */
  deviation(): number {
    const moments = this.#current();
    return moments === null ? NaN : Math.sqrt((moments.m2 * this.#count) / (this.#count - 1));
  }

  /** Unbiased; NaN until warm and where all returns are equal. */
  skewness(): number {
    const n = this.#count;
    const moments = this.#current();
    if (moments === null || moments.m2 === 0 || n < 3) return NaN;
    return ((Math.sqrt(n * (n - 1)) / (n - 2)) * moments.m3) / moments.m2 ** 1.5;
  }

  /** Unbiased excess; NaN until warm and where all returns are equal. */
  kurtosis(): number {
    const n = this.#count;
    const moments = this.#current();
    if (moments === null || moments.m2 === 0 || n < 4) return NaN;
    const biased = moments.m4 / (moments.m2 * moments.m2) - 3;
    return ((n - 1) / ((n - 2) * (n - 3))) * ((n + 1) * biased + 6);
  }

  #current(): Moments | null {
    if (this.#returns.count !== this.#seen) {
      this.#seen = this.#returns.count;
      this.#moments = this.#returns.newest(this.#count, this.#window) ? momentsOf(this.#window) : null;
    }
    return this.#moments;
  }
}

function momentsOf(values: Float64Array): Moments {
  const n = values.length;
  let sum = 0;
  let isConstant = true;
  for (const value of values) {
    sum += value;
    if (value !== values[0]) isConstant = false;
  }
  // the mean of equal numbers may differ from them by a rounding
  if (isConstant) return { m2: 0, m3: 0, m4: 0 };
  const mean = sum / n;
  let [s1, s2, s3, s4] = [0, 0, 0, 0];
  for (const value of values) {
    const off = value - mean;
    const square = off * off;
    s1 += off;
    s2 += square;
    s3 += square * off;
    s4 += square * square;
  }
  // what the mean itself was rounded by
  return { m2: (s2 - (s1 * s1) / n) / n, m3: s3 / n, m4: s4 / n };
}
