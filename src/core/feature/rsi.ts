import type { CloseFollower } from './series/closes.ts';
import type { StateIn, StateOut } from './series/state.ts';

const CHANGES = 14;
/** An average that fell below this counts as none: 2^-1000, far below what two prices can differ by. */
const NOTHING = 2 ** -1000;

/**
 * Relative strength index of Wilder over 14 closes: the first averages of gains and losses are the means of 14 changes, the next
 * ones (13·a + x)/14. 100 without losses, 50 without any move. (J. W. Wilder, "New Concepts in Technical Trading Systems", 1978.)
 */
export class Rsi implements CloseFollower {
  #changes = 0;
  #gain = 0;
  #loss = 0;

  closed(close: number, before: number | null): void {
    if (before === null) return;
    const change = close - before;
    const gain = change > 0 ? change : 0;
    const loss = change < 0 ? -change : 0;
    this.#changes += 1;
    if (this.#changes <= CHANGES) {
      this.#gain += gain;
      this.#loss += loss;
      if (this.#changes < CHANGES) return;
      this.#gain /= CHANGES;
      this.#loss /= CHANGES;
    } else {
      this.#gain = average(this.#gain, gain);
      this.#loss = average(this.#loss, loss);
    }
  }

  stoodStill(): void {
    this.#changes += CHANGES;
    this.#gain = this.#loss = 0;
  }

  /** 0 to 100; NaN until there were 14 changes. */
  value(): number {
    if (this.#changes < CHANGES) return NaN;
    if (this.#loss === 0) return this.#gain === 0 ? 50 : 100;
    return 100 - 100 / (1 + this.#gain / this.#loss);
  }

  save(out: StateOut): void {
    out.f64(this.#changes);
    out.f64(this.#gain);
    out.f64(this.#loss);
  }

  load(state: StateIn): void {
    this.#changes = state.f64();
    this.#gain = state.f64();
    this.#loss = state.f64();
  }
}

function average(before: number, value: number): number {
  const next = ((CHANGES - 1) * before + value) / CHANGES;
  return next < NOTHING ? 0 : next;
}
