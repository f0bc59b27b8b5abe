import type { TickRing } from './series/tick-ring.ts';

/** p(t) / p(at or before t − h) − 1; momentum is ret of 60 s. */
export class Return {
  readonly #horizonUs: number;
  readonly #ring: TickRing;
  /** the last tick at or before t − h, or, while there is none, the first one */
  #from: number;

  /** @param horizonMs h */
  constructor(horizonMs: number, ring: TickRing) {
    this.#horizonUs = horizonMs * 1000;
    this.#ring = ring;
    this.#from = ring.first;
  }

  /** Ticks before this number are not needed here. */
  get from(): number {
    return this.#from;
  }

  /** Begins anew with what the ring has. */
  restart(): void {
    this.#from = this.#ring.first;
  }

  advance(atUs: number): void {
    const ring = this.#ring;
    const startUs = atUs - this.#horizonUs;
    while (this.#from + 1 < ring.end && ring.tsUs(this.#from + 1) <= startUs) this.#from += 1;
  }

  /** The oldest tick has to go, whatever its age. */
  drop(): void {
    this.#from += 1;
  }

  /** NaN until there is a price of t − h, and where that is 0. */
  value(atUs: number): number {
    const ring = this.#ring;
    if (ring.end === ring.first || ring.tsUs(this.#from) > atUs - this.#horizonUs) return NaN;
    const before = ring.price(this.#from);
    return before === 0 ? NaN : ring.price(ring.end - 1) / before - 1;
  }
}
