import type { StateIn, StateOut } from './state.ts';

/** What follows the closes of a symbol, one after the other. */
export interface CloseFollower {
  /**
   * A cell of the grid closed.
   * @param close its last price
   * @param before the close of the cell before; null: this is the first cell
   */
  closed(close: number, before: number | null): void;
  /** More cells than anything here remembers closed at the price of the last one. */
  stoodStill(): void;
}

/** After so many equal closes nothing of the time before is left anywhere: 300 s at the finest grid, and 18,930 for an average of Wilder. */
export const CELLS_REMEMBERED = 20_000;

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
  #count = 0;

  constructor(gridMs: number, followers: readonly CloseFollower[]) {
    this.#gridUs = gridMs * 1000;
    this.#followers = followers;
  }

  /** Cells that closed since the first tick. */
  get count(): number {
    return this.#count;
  }

  /** Closes what ends at or before this time. */
  advance(atUs: number): void {
    const now = Math.floor(atUs / this.#gridUs);
    if (this.#cell === null || now <= this.#cell) return;
    const cells = now - this.#cell;
    this.#cell = now;
    if (cells > CELLS_REMEMBERED) {
      this.#close();
      for (const follower of this.#followers) follower.stoodStill();
      this.#count += cells - 1;
      return;
    }
    for (let cell = 0; cell < cells; cell += 1) this.#close();
  }

  /** After advance() to the tick's time. */
  add(tsUs: number, price: number): void {
    this.#cell ??= Math.floor(tsUs / this.#gridUs);
    this.#price = price;
  }

  #close(): void {
    for (const follower of this.#followers) follower.closed(this.#price, this.#before);
    this.#before = this.#price;
    this.#count += 1;
  }

  save(out: StateOut): void {
    out.f64(this.#cell ?? NaN);
    out.f64(this.#price);
    out.f64(this.#before ?? NaN);
    out.f64(this.#count);
  }

  load(state: StateIn): void {
    const cell = state.f64();
    this.#cell = Number.isNaN(cell) ? null : cell;
    this.#price = state.f64();
    const before = state.f64();
    this.#before = Number.isNaN(before) ? null : before;
    this.#count = state.f64();
  }
}
