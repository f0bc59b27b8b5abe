import type { StateIn, StateOut } from './series/state.ts';
import type { FeatureTick } from './tick.ts';

const DAY_US = 86_400_000_000;
/** bins of a day; beyond it two neighbours become one */
export const BINS_MAX = 16_384;
/** of them the day's first price is made, about, where no width is configured */
const WIDTHS = 10_000;
/** more than a price, a width and their quotient are rounded by, together */
const ROUNDINGS = 2 ** -50;

/**
 * (price − poc) / poc · 10⁴ of the newest tick: its distance from the point of control, the lower bound of the price bin with the
 * most volume of the UTC day so far; of equal ones the lower.
 */
export class VolumeProfile {
  readonly #configured: number | null;
  #day = NaN;
  #width = NaN;
  #bins = new Map<number, number>();
  #poc: number | null = null;
  #price = NaN;

  /** @param width of a bin, in units of the price; null: about a ten-thousandth of the day's first price */
  constructor(width: number | null) {
    this.#configured = width;
  }

  add({ tsUs, price, size }: FeatureTick): void {
    const day = Math.floor(tsUs / DAY_US);
    if (day !== this.#day) {
      this.#day = day;
      this.#bins = new Map();
      this.#poc = null;
      this.#width = this.#configured ?? niceWidth(Math.abs(price) / WIDTHS);
    }
    this.#price = price;
    if (size === null || size === 0) return;
    const bin = binOf(price, this.#width);
    const volume = (this.#bins.get(bin) ?? 0) + size;
    this.#bins.set(bin, volume);
    if (this.#bins.size <= BINS_MAX) this.#compare(bin, volume);
    // a width may unite none of them: prices far above the first one of the day
    while (this.#bins.size > BINS_MAX) this.#merge();
  }

  /** NaN without volume on that day, and where the point of control is 0. */
  value(): number {
    if (this.#poc === null) return NaN;
    const poc = this.#poc * this.#width;
    return poc === 0 ? NaN : ((this.#price - poc) / poc) * 10_000;
  }

  /** Volumes only grow: no other bin can have become the fullest one. */
  #compare(bin: number, volume: number): void {
    const most = this.#poc === null ? -1 : (this.#bins.get(this.#poc) ?? 0);
    if (volume > most || (volume === most && bin < (this.#poc ?? Infinity))) this.#poc = bin;
  }

  #merge(): void {
    const before = this.#bins;
    this.#width *= 2;
    this.#bins = new Map();
    this.#poc = null;
    for (const [bin, volume] of before) {
      const wide = Math.floor(bin / 2);
      this.#bins.set(wide, (this.#bins.get(wide) ?? 0) + volume);
    }
    for (const [bin, volume] of this.#bins) this.#compare(bin, volume);
  }

  save(out: StateOut): void {
    out.f64(this.#day);
    out.f64(this.#width);
    out.f64(this.#price);
    out.f64s([...this.#bins.keys()]);
    out.f64s([...this.#bins.values()]);
  }

  load(state: StateIn): void {
    this.#day = state.f64();
    this.#width = state.f64();
    this.#price = state.f64();
    const bins = state.f64s();
    const volumes = state.f64s();
    if (bins.length !== volumes.length)
      throw new RangeError(`${volumes.length} volumes are not of ${bins.length} bins`);
    this.#bins = new Map();
    this.#poc = null;
    for (const [at, bin] of bins.entries()) this.#bins.set(bin, volumes[at]);
    for (const [bin, volume] of this.#bins) this.#compare(bin, volume);
  }
}

/**
 * The bin [n·width, (n+1)·width) as decimals read it: 1.15 is in bin 115 of 0.01, although the quotient of the two doubles is a
 * rounding below it.
 */
function binOf(price: number, width: number): number {
  const quotient = price / width;
  const nearest = Math.round(quotient);
  return Math.abs(quotient - nearest) <= Math.abs(quotient) * ROUNDINGS ? nearest : Math.floor(quotient);
}

/** The next number of 1, 2, 5, 10, … times a power of ten at or below; 1 for none. */
export function niceWidth(width: number): number {
  if (!(width > 0 && Number.isFinite(width))) return 1;
  const power = Math.floor(Math.log10(width));
  for (const [digit, exponent] of [
    [5, power],
    [2, power],
    [1, power],
    [5, power - 1],
  ] as const) {
    // as a decimal reads it: 1e-7, and not a product that is off by a rounding
    const nice = Number(`${digit}e${exponent}`);
    if (nice <= width * (1 + ROUNDINGS)) return nice;
  }
  return width;
}
