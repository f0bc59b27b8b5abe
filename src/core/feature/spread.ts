import type { StateIn, StateOut } from './series/state.ts';
import type { FeatureTick } from './tick.ts';

/** (ask − bid) / mid · 10⁴ of the newest tick that has both. */
export class Spread {
  #bps = NaN;
  #tsUs = NaN;

  add({ tsUs, bid, ask }: FeatureTick): void {
    if (bid === null || ask === null) return;
    const mid = bid / 2 + ask / 2;
    this.#bps = mid === 0 ? NaN : ((ask - bid) / mid) * 10_000;
    this.#tsUs = tsUs;
  }

  /** NaN until a tick had both. */
  value(): number {
    return this.#bps;
  }

  /** The time of that tick, µs. */
  get tsUs(): number {
    return this.#tsUs;
  }

  save(out: StateOut): void {
    out.f64(this.#bps);
    out.f64(this.#tsUs);
  }

  load(state: StateIn): void {
    this.#bps = state.f64();
    this.#tsUs = state.f64();
  }
}
