import { ExactSum } from '../window/exact-sum.ts';
import type { TickRing } from './series/tick-ring.ts';

/**
 * The ticks of (t − h, t]: sums of size and of price·size, and those of buyers and sellers. The sums are exact and rounded once,
 * so that they do not depend on what has left the window, and a restart makes them anew from its ticks.
 */
export class TradeWindow {
  readonly #horizonUs: number;
  readonly #ring: TickRing;
  /** number of the first tick in the window */
  #from: number;
  #added: number;
  readonly #size = new ExactSum();
  readonly #pv = new ExactSum();
  readonly #bought = new ExactSum();
  readonly #sold = new ExactSum();
  /** ticks in the window whose price·size is beyond the range of a double: while there are any, there is no vwap */
  #infinite = 0;

  /** @param horizonMs h */
  constructor(horizonMs: number, ring: TickRing) {
    this.#horizonUs = horizonMs * 1000;
    this.#ring = ring;
    this.#from = this.#added = ring.first;
  }

  /** Ticks before this number are not needed here. */
  get from(): number {
    return this.#from;
  }

  /** Begins anew with what the ring has. */
  restart(): void {
    this.#from = this.#added = this.#ring.first;
    this.#clear();
  }

  /** What came since takes part, what is too old at this time does not. */
  advance(atUs: number): void {
    const ring = this.#ring;
    for (; this.#added < ring.end; this.#added += 1) this.#count(this.#added, 1);
    const startUs = atUs - this.#horizonUs;
    while (this.#from < this.#added && ring.tsUs(this.#from) <= startUs) this.drop();
  }

  /** The oldest tick leaves, whatever its age. */
  drop(): void {
    this.#count(this.#from, -1);
    this.#from += 1;
    if (this.#from === this.#added) this.#clear();
  }

  /** Σ price·size / Σ size; NaN without volume, and where one of the sums is beyond the range of a double. */
  vwap(): number {
    const size = this.#size.value();
    return this.#infinite === 0 && Number.isFinite(size) ? this.#pv.value() / size : NaN;
  }

  /** (Σbuy − Σsell) / (Σbuy + Σsell); NaN where neither is known. */
  imbalance(): number {
    // halves, because the sum of both may be beyond the range
    const bought = this.#bought.value() / 2;
    const sold = this.#sold.value() / 2;
    return (bought - sold) / (bought + sold);
  }

  #clear(): void {
    this.#size.clear();
    this.#pv.clear();
    this.#bought.clear();
    this.#sold.clear();
    this.#infinite = 0;
  }

  #count(number: number, sign: 1 | -1): void {
    const size = sign * this.#ring.size(number);
    if (size === 0) return;
    this.#size.add(size);
    // rounded once, as in bars
    const pv = this.#ring.price(number) * size;
    if (Number.isFinite(pv)) this.#pv.add(pv);
    else this.#infinite += sign;
    const side = this.#ring.side(number);
    if (side > 0) this.#bought.add(size);
    else if (side < 0) this.#sold.add(size);
  }
}
