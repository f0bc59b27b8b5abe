import type { StateIn, StateOut } from './state.ts';

/** What follows the closes of a symbol, one after the other. */
export interface CloseFollower {
  /**
   * A cell of the grid closed.
   * @param close its last price
   * @param before the close of the cell before; null: this is the first cell
   */
  closed(close: number, before: number | null): void;
  /**
   * So many further cells closed at the price of the last one: the same as closed(close, close) as often, bit for bit, in steps
   * that are bounded by what the follower remembers.
   */
  stoodStill(close: number, cells: number): void;
}

/**
 * The last price of each cell of a grid [k·grid, (k+1)·grid), filled forward from the first price on. A cell counts once it is
 * closed: at its end, and not before.
 */
export class Closes {
  readonly #gridUs: number;
  readonly #followers: readonly CloseFollower[];
  /** number of the cell that is open; null: no tick has come */
  #cell: number | null = null;
  #price = NaN;
  #before: number | null = null;

  constructor(gridMs: number, followers: readonly CloseFollower[]) {
    this.#gridUs = gridMs * 1000;
    this.#followers = followers;
  }

  /** Closes what ends at or before this time. */
  advance(atUs: number): void {
    if (this.#cell === null || atUs < (this.#cell + 1) * this.#gridUs) return;
    const now = Math.floor(atUs / this.#gridUs);
    const price = this.#price;
    const still = now - this.#cell - 1;
    for (const follower of this.#followers) {
      follower.closed(price, this.#before);
      if (still > 0) follower.stoodStill(price, still);
    }
    this.#before = price;
    this.#cell = now;
  }

  /** After advance() to the tick's time. */
  add(tsUs: number, price: number): void {
    this.#cell ??= Math.floor(tsUs / this.#gridUs);
    this.#price = price;
  }

  save(out: StateOut): void {
    out.f64(this.#cell ?? NaN);
    out.f64(this.#price);
    out.f64(this.#before ?? NaN);
  }

  load(state: StateIn): void {
    const cell = state.f64();
    this.#cell = Number.isNaN(cell) ? null : cell;
    this.#price = state.f64();
    const before = state.f64();
    this.#before = Number.isNaN(before) ? null : before;
  }
}
