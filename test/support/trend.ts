/** Values over time, and the straight line that fits them best. */
export class Trend {
  readonly #samples: { seconds: number; value: number }[] = [];

  add(seconds: number, value: number): void {
    this.#samples.push({ seconds, value });
  }

  get length(): number {
    return this.#samples.length;
  }

  get last(): number {
    return this.#samples.at(-1)?.value ?? NaN;
  }

  get highest(): number {
    return Math.max(...this.#samples.map(({ value }) => value));
  }

  /** By least squares, of the samples from so many seconds on; NaN for fewer than two. */
  slopePerSecond(fromSeconds: number): number {
    const samples = this.#samples.filter(({ seconds }) => seconds >= fromSeconds);
    const mean = (of: (sample: { seconds: number; value: number }) => number): number =>
      samples.reduce((sum, sample) => sum + of(sample), 0) / samples.length;
    const meanSeconds = mean(({ seconds }) => seconds);
    const meanValue = mean(({ value }) => value);
    const covariance = mean(({ seconds, value }) => (seconds - meanSeconds) * (value - meanValue));
    return covariance / mean(({ seconds }) => (seconds - meanSeconds) ** 2);
  }
}
