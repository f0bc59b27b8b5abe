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
  #size = new ExactSum();
  #pv = new ExactSum();
  #bought = new ExactSum();
  #sold = new ExactSum();

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
    if (this.#from < this.#added) return;
    this.#clear();
  }

  /** Σ price·size / Σ size; NaN without volume. */
  vwap(): number {
    return this.#pv.value() / this.#size.value();
  }

  /** (Σbuy − Σsell) / (Σbuy + Σsell); NaN where neither is known. */
  imbalance(): number {
    const bought = this.#bought.value();
    const sold = this.#sold.value();
    return (bought - sold) / (bought + sold);
  }

  #clear(): void {
    this.#size = new ExactSum();
    this.#pv = new ExactSum();
    this.#bought = new ExactSum();
    this.#sold = new ExactSum();
  }

  #count(number: number, sign: 1 | -1): void {
    const size = sign * this.#ring.size(number);
    if (size === 0) return;
    this.#size.add(size);
    // rounded once, as in bars
    this.#pv.add(this.#ring.price(number) * size);
    const side = this.#ring.side(number);
    if (side > 0) this.#bought.add(size);
    else if (side < 0) this.#sold.add(size);
  }
}
