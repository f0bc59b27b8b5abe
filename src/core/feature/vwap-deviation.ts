import { ExactSum } from '../window/exact-sum.ts';
import type { StateIn, StateOut } from './series/state.ts';
import type { FeatureTick } from './tick.ts';

const DAY_US = 86_400_000_000;

/** (price − vwap) / vwap · 10⁴ of the newest tick, vwap of its UTC day up to and including it: by event time, never looking ahead. */
export class VwapDeviation {
  #day = NaN;
  #size = new ExactSum();
  #pv = new ExactSum();
  #price = NaN;

  add({ tsUs, price, size }: FeatureTick): void {
    const day = Math.floor(tsUs / DAY_US);
    if (day !== this.#day) {
      this.#day = day;
      this.#size = new ExactSum();
      this.#pv = new ExactSum();
    }
    this.#price = price;
    if (size === null || size === 0) return;
    this.#size.add(size);
    this.#pv.add(price * size);
  }

  /** NaN without volume on that day. */
  value(): number {
    const vwap = this.#pv.value() / this.#size.value();
    return vwap === 0 ? NaN : ((this.#price - vwap) / vwap) * 10_000;
  }

  save(out: StateOut): void {
    out.f64(this.#day);
    out.f64(this.#price);
    out.f64s(this.#size.state());
    out.f64s(this.#pv.state());
  }

  load(state: StateIn): void {
    this.#day = state.f64();
    this.#price = state.f64();
    this.#size = ExactSum.of([...state.f64s()]);
    this.#pv = ExactSum.of([...state.f64s()]);
  }
}
