/** How rows of the past are read: by slices of time, in order. */
export interface Slices<K, R extends K> {
  /** Once, before anything else; false: there are none. */
  begin(): Promise<boolean>;
  /** Time of the first row at or behind `from`, µs; null: none. */
  firstAt(from: bigint): Promise<bigint | null>;
  /** The first `limit` rows with times in [from, to), behind `after`, in order. */
  slice(from: bigint, to: bigint, after: K | null, limit: number): Promise<R[]>;
}

const PAGE_ROWS = 2_000;
const SLICE_FIRST_US = 1_000_000n;
const SLICE_MAX_US = 86_400_000_000n;
const GROWTH = 4n;

/**
 * The rows that a snapshot shows from a time on, in the order of their time, by pages. The keys of the tables begin with names
 * and not with the time, so a page is merged from the parts of all names; a slice of time that holds about a page keeps those
 * parts small. Nothing is open between two pages.
 */
export class SliceHistory<K extends { ts: bigint }, R extends K> {
  readonly #slices: Slices<K, R>;
  #at: bigint;
  #last: K | null;
  #widthUs = SLICE_FIRST_US;
  #isBegun = false;
  #isEmpty = true;

  /** @param last behind this one; null: from the beginning */
  constructor(slices: Slices<K, R>, fromUs: bigint, last: K | null) {
    this.#slices = slices;
    this.#last = last;
    this.#at = last !== null && last.ts > fromUs ? last.ts : fromUs;
  }

  /** Null: there is nothing more. Rejects as the database does, and may be repeated. */
  async next(): Promise<R[] | null> {
    if (!this.#isBegun && !(await this.#slices.begin())) return null;
    this.#isBegun = true;
    if (this.#isEmpty) {
      const first = await this.#slices.firstAt(this.#at);
      if (first === null) return null;
      if (first > this.#at) this.#at = first;
    }
    const to = this.#at + this.#widthUs;
    const rows = await this.#slices.slice(this.#at, to, this.#last, PAGE_ROWS);
    const last = rows.at(-1);
    if (last !== undefined) this.#last = last;
    this.#isEmpty = rows.length === 0;
    if (last !== undefined && rows.length === PAGE_ROWS) {
      // the next page begins behind this row; about as wide as what this one took of its slice
      const taken = last.ts - this.#at;
      this.#at = last.ts;
      this.#widthUs = taken < 1n ? 1n : taken;
    } else {
      this.#at = to;
      if (rows.length < PAGE_ROWS / 4) this.#widthUs *= GROWTH;
      else if (rows.length < PAGE_ROWS / 2) this.#widthUs *= 2n;
      if (this.#widthUs > SLICE_MAX_US) this.#widthUs = SLICE_MAX_US;
    }
    return rows;
  }
}
