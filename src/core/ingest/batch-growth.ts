/** A batch that took no more than this share of the time may be followed by one of twice the size. */
const QUICK = 1 / 4;
/** quick batches before the size doubles */
const NEEDED_MAX = 64;

/**
 * How many frames a batch may have: BATCH_MAX, until the database does not answer one of that size in time. Half of it then,
 * and twice as many again when batches of the full size were quick: what is too slow as a whole gets through in parts,
 * instead of being sent again as it is. Each time that was too soon, twice as many of them are needed: where only the larger
 * ones fail, most are of the size that does not.
 */
export class BatchGrowth {
  readonly #most: number;
  readonly #quickMs: number;
  #limit: number;
  #quick = 0;
  #needed = 1;

  /** @param most BATCH_MAX; answerMs: within which a batch must be answered */
  constructor(most: number, answerMs: number) {
    this.#most = most;
    this.#quickMs = answerMs * QUICK;
    this.#limit = most;
  }

  /** frames */
  get limit(): number {
    return this.#limit;
  }

  /** A batch of so many frames was not answered in time. Several of one size that were sent side by side count once. */
  late(frames: number): void {
    const limit = Math.max(1, Math.min(this.#limit, frames >>> 1));
    if (limit === this.#limit) return;
    this.#limit = limit;
    this.#quick = 0;
    this.#needed = Math.min(NEEDED_MAX, this.#needed * 2);
  }

  committed(frames: number, durationMs: number): void {
    if (frames < this.#limit || this.#limit === this.#most) return;
    this.#quick = durationMs <= this.#quickMs ? this.#quick + 1 : 0;
    if (this.#quick < this.#needed) return;
    this.#quick = 0;
    this.#limit = Math.min(this.#most, this.#limit * 2);
    if (this.#limit === this.#most) this.#needed = 1;
  }
}
