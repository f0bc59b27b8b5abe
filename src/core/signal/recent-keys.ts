import type { StateIn, StateOut } from '../feature/series/state.ts';

/** as many as a publisher's batch may send again for one symbol */
const KEYS = 256;

/** Time and seq of the newest ticks that took part, however long ago: a batch that is sent again is no late one. */
export class RecentKeys {
  readonly #ts = new Float64Array(KEYS);
  readonly #seq = new BigInt64Array(KEYS);
  #count = 0;

  add(tsUs: number, seq: bigint): void {
    const at = this.#count % KEYS;
    this.#ts[at] = tsUs;
    this.#seq[at] = seq;
    this.#count += 1;
  }

  has(tsUs: number, seq: bigint): boolean {
    const kept = Math.min(this.#count, KEYS);
    for (let at = 0; at < kept; at += 1) if (this.#ts[at] === tsUs && this.#seq[at] === seq) return true;
    return false;
  }

  save(out: StateOut): void {
    const kept = Math.min(this.#count, KEYS);
    out.f64(kept);
    for (let number = this.#count - kept; number < this.#count; number += 1) {
      out.f64(this.#ts[number % KEYS]);
      out.i64(this.#seq[number % KEYS]);
    }
  }

  load(state: StateIn): void {
    this.#count = 0;
    for (let left = state.f64(); left > 0; left -= 1) this.add(state.f64(), state.i64());
  }
}
