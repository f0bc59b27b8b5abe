import { barOf, type Bar } from '../market/bar.ts';
import { ExactSum } from './exact-sum.ts';

/** Builds a bar from its ticks: any order, no duplicates. */
export class BarBuilder {
  #count = 0;
  #open = 0;
  #openUs = 0;
  #openSeq = 0n;
  #close = 0;
  #closeUs = 0;
  #closeSeq = 0n;
  #high = -Infinity;
  #low = Infinity;
  readonly #volume = new ExactSum();
  #pv: ExactSum | null = new ExactSum();

  get count(): number {
    return this.#count;
  }

  /** Of the last tick by (time, seq). */
  get lastSeq(): bigint {
    return this.#closeSeq;
  }

  /** @param size null counts as 0 */
  add(srcUs: number, seq: bigint, price: number, size: number | null): void {
    if (this.#count === 0 || srcUs < this.#openUs || (srcUs === this.#openUs && seq < this.#openSeq)) {
      this.#open = price;
      this.#openUs = srcUs;
      this.#openSeq = seq;
    }
    if (this.#count === 0 || srcUs > this.#closeUs || (srcUs === this.#closeUs && seq > this.#closeSeq)) {
      this.#close = price;
      this.#closeUs = srcUs;
      this.#closeSeq = seq;
    }
    if (price > this.#high) this.#high = price;
    if (price < this.#low) this.#low = price;
    this.#count += 1;
    if (size === null || size === 0) return;
    this.#volume.add(size);
    const product = price * size;
    // a product beyond the range of a double makes the sum unknown
    if (Number.isFinite(product)) this.#pv?.add(product);
    else this.#pv = null;
  }

  /** null: there was no tick. */
  bar(): Bar | null {
    if (this.#count === 0) return null;
    const prices = {
      open: this.#open,
      high: this.#high,
      low: this.#low,
      close: this.#close,
      tickCount: this.#count,
      firstUs: this.#openUs,
      lastUs: this.#closeUs,
    };
    return barOf(prices, this.#volume, this.#pv);
  }
}
