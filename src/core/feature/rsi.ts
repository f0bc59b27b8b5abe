import type { CloseFollower } from './series/closes.ts';
import type { StateIn, StateOut } from './series/state.ts';

const CHANGES = 14;
/** Both averages below this count as none: 2^-1000, far below what two prices can differ by, and still with all digits. */
const NOTHING = 2 ** -1000;
/** Averages are kept in this unit, an exact one, so that no prices are too far apart: only their quotient matters. */
const UNIT = 2 ** -8;

/**
 * Relative strength index of Wilder over 14 closes: the first averages of gains and losses are the means of 14 changes, the next
 * ones (13·a + x)/14. 100 without losses, 50 without any move. (J. W. Wilder, "New Concepts in Technical Trading Systems", 1978.)
 * Without a move it stays where it is, until some 9,300 cells later nothing is left of either average: 50.
 */
export class Rsi implements CloseFollower {
  /** up to 14 */
  #changes = 0;
  #gain = 0;
  #loss = 0;

  closed(close: number, before: number | null): void {
    if (before === null) return;
    const change = close * UNIT - before * UNIT;
    this.#add(change > 0 ? change : 0, change < 0 ? -change : 0);
  }

  stoodStill(_close: number, cells: number): void {
    let left = cells;
    for (; left > 0 && (this.#gain > 0 || this.#loss > 0); left -= 1) this.#add(0, 0);
    this.#changes = Math.min(CHANGES, this.#changes + left);
  }

  #add(gain: number, loss: number): void {
    if (this.#changes < CHANGES) {
      this.#changes += 1;
      this.#gain += gain;
      this.#loss += loss;
      if (this.#changes < CHANGES) return;
      this.#gain /= CHANGES;
      this.#loss /= CHANGES;
    } else {
      this.#gain = ((CHANGES - 1) * this.#gain + gain) / CHANGES;
      this.#loss = ((CHANGES - 1) * this.#loss + loss) / CHANGES;
      // together, or the index would be thrown to 0 or 100 by the one that vanishes first
      if (this.#gain < NOTHING && this.#loss < NOTHING) this.#gain = this.#loss = 0;
    }
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
