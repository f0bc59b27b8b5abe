import type { FeatureTick } from '../tick.ts';
import type { StateIn, StateOut } from './state.ts';

/** ticks that a symbol keeps for its windows, at most: 40 bytes each */
export const RING_TICKS_MAX = 262_144;
const RING_TICKS_MIN = 64;

/**
 * The newest ticks of a symbol, in the order in which they were added. A tick is known by its number, which counts all ticks
 * ever added; it is here from `first` up to, and without, `end`.
 */
export class TickRing {
  #capacity = RING_TICKS_MIN;
  #ts = new Float64Array(RING_TICKS_MIN);
  #price = new Float64Array(RING_TICKS_MIN);
  #size = new Float64Array(RING_TICKS_MIN);
  #side = new Float64Array(RING_TICKS_MIN);
  #seq = new BigInt64Array(RING_TICKS_MIN);
  #first = 0;
  #end = 0;
  readonly #ticksMax: number;

  constructor(ticksMax = RING_TICKS_MAX) {
    this.#ticksMax = ticksMax;
  }

  get first(): number {
    return this.#first;
  }

  get end(): number {
    return this.#end;
  }

  /** One more tick would exceed the bound: the oldest one has to go before. */
  get isFull(): boolean {
    return this.#end - this.#first >= this.#ticksMax;
  }

  push({ tsUs, seq, price, size, side }: FeatureTick): void {
    if (this.#end - this.#first === this.#capacity) this.#grow();
    const at = this.#end & (this.#capacity - 1);
    this.#ts[at] = tsUs;
    this.#price[at] = price;
    this.#size[at] = size ?? 0;
    this.#side[at] = side ?? 0;
    this.#seq[at] = seq;
    this.#end += 1;
  }

  /** Nothing before this number is needed any more. */
  trim(first: number): void {
    if (first > this.#first) this.#first = Math.min(first, this.#end);
  }

  tsUs(number: number): number {
    return this.#ts[number & (this.#capacity - 1)];
  }

  price(number: number): number {
    return this.#price[number & (this.#capacity - 1)];
  }

  /** 0 where it is not known */
  size(number: number): number {
    return this.#size[number & (this.#capacity - 1)];
  }

  /** 0 where it is not known */
  side(number: number): number {
    return this.#side[number & (this.#capacity - 1)];
  }

  /** Whether the tick is here; null: it is not, and is older than what is kept. */
  has(tsUs: number, seq: bigint): boolean | null {
    if (this.#first === this.#end || tsUs < this.tsUs(this.#first)) return null;
    let low = this.#first;
    let high = this.#end;
    while (low < high) {
      const middle = low + Math.floor((high - low) / 2);
      if (this.tsUs(middle) < tsUs) low = middle + 1;
      else high = middle;
    }
    for (; low < this.#end && this.tsUs(low) === tsUs; low += 1)
      if (this.#seq[low & (this.#capacity - 1)] === seq) return true;
    // others of the oldest time may have left
    return tsUs > this.tsUs(this.#first) ? false : null;
  }

  save(out: StateOut): void {
    out.f64(this.#first);
    out.f64(this.#end);
    for (let number = this.#first; number < this.#end; number += 1) {
      out.f64(this.tsUs(number));
      out.f64(this.price(number));
      out.f64(this.size(number));
      out.f64(this.side(number));
      out.i64(this.#seq[number & (this.#capacity - 1)]);
    }
  }

  load(state: StateIn): void {
    const first = state.f64();
    const end = state.f64();
    if (
      !(Number.isSafeInteger(first) && Number.isSafeInteger(end)) ||
      end < first ||
      end - first > this.#ticksMax
    )
      throw new RangeError(`ticks ${first} to ${end} are no window`);
    this.#first = this.#end = first;
    while (this.#end < end) {
      const [tsUs, price, size, side] = [state.f64(), state.f64(), state.f64(), state.f64()];
      this.push({
        tsUs,
        price,
        size,
        side: (Math.sign(side) as 1 | -1 | 0) || null,
        bid: null,
        ask: null,
        seq: state.i64(),
      });
    }
  }

  #grow(): void {
    const capacity = 2 * this.#capacity;
    const copies = [this.#ts, this.#price, this.#size, this.#side].map((values) => {
      const larger = new Float64Array(capacity);
      for (let at = this.#first; at < this.#end; at += 1)
        larger[at & (capacity - 1)] = values[at & (this.#capacity - 1)];
      return larger;
    });
    const seq = new BigInt64Array(capacity);
    for (let at = this.#first; at < this.#end; at += 1)
      seq[at & (capacity - 1)] = this.#seq[at & (this.#capacity - 1)];
    [this.#ts, this.#price, this.#size, this.#side] = copies;
    this.#seq = seq;
    this.#capacity = capacity;
  }
}
