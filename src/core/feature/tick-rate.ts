import type { StateIn, StateOut } from './series/state.ts';

const SECOND_US = 1_000_000;
const SECONDS = 300;
const KEPT = SECONDS + 1;

/**
 * Ticks of the last whole second against the 300 seconds before it, zeros included: (n − mean) / standard deviation (ddof 1).
 * Sums of counts and of their squares are whole numbers, so what enters and leaves them leaves nothing behind.
 */
export class TickRate {
  /** whole seconds, the newest at #whole − 1 */
  readonly #counts = new Float64Array(KEPT);
  #sum = 0;
  #squares = 0;
  #whole = 0;
  /** the second that is not over; null: no tick has come */
  #second: number | null = null;
  #open = 0;

  advance(atUs: number): void {
    if (this.#second === null || atUs < (this.#second + 1) * SECOND_US) return;
    const second = Math.floor(atUs / SECOND_US);
    const empty = second - this.#second - 1;
    this.#second = second;
    this.#push(this.#open);
    this.#open = 0;
    for (let at = 0; at < Math.min(KEPT, empty); at += 1) this.#push(0);
    // as if it had been pushed as often: the place of the newest one follows from how many there were
    if (empty > KEPT) this.#whole += empty - KEPT;
  }

  /** After advance() to the tick's time. */
  add(tsUs: number): void {
    this.#second ??= Math.floor(tsUs / SECOND_US);
    this.#open += 1;
  }

  /** NaN until there are 301 whole seconds, and where the 300 are equal. */
  value(): number {
    if (this.#whole < KEPT) return NaN;
    const last = this.#counts[(this.#whole - 1) % KEPT];
    const sum = this.#sum - last;
    const squares = this.#squares - last * last;
    const variance = (SECONDS * squares - sum * sum) / (SECONDS * (SECONDS - 1));
    return variance > 0 ? (last - sum / SECONDS) / Math.sqrt(variance) : NaN;
  }

  #push(count: number): void {
    const at = this.#whole % KEPT;
    const gone = this.#counts[at];
    this.#counts[at] = count;
    this.#sum += count - gone;
    this.#squares += count * count - gone * gone;
    this.#whole += 1;
  }

  save(out: StateOut): void {
    out.f64(this.#second ?? NaN);
    out.f64(this.#open);
    out.f64(this.#whole);
    out.f64s(this.#counts);
  }

  load(state: StateIn): void {
    const second = state.f64();
    this.#second = Number.isNaN(second) ? null : second;
    this.#open = state.f64();
    this.#whole = state.f64();
    state.f64sInto(this.#counts);
    this.#sum = this.#squares = 0;
    for (const count of this.#counts) {
      this.#sum += count;
      this.#squares += count * count;
    }
  }
}
