interface LogEnd {
  position: string;
  /** when the log ended there, ms by the clock of whoever notes it */
  seenMs: number;
}

/** ends kept for one age: what is aged is found up to this part of the age too late */
const ENDS_MAX = 32;

/**
 * Where a log ended at which time of our clock. What lies at or below an end that is older than `ageMs` is at least that
 * old, whatever times the records carry: ids and timestamps are set by strangers.
 */
export class AgedEnds {
  readonly #ageMs: number;
  readonly #compare: (a: string, b: string) => number;
  /** the oldest first; at most one that is older than ageMs */
  #ends: LogEnd[] = [];

  /** @param ageMs above 0 */
  constructor(ageMs: number, compare: (a: string, b: string) => number) {
    this.#ageMs = ageMs;
    this.#compare = compare;
  }

  /** Between two ends that are kept, ms. */
  get spacingMs(): number {
    return this.#ageMs / ENDS_MAX;
  }

  /** Number of ends. */
  get kept(): number {
    return this.#ends.length;
  }

  /** The log ends here now. When it ended further on before, it was made anew, and its age is counted from now on. */
  note(position: string, nowMs: number): void {
    const last = this.#ends.at(-1);
    const order = last === undefined ? 1 : this.#compare(position, last.position);
    if (order < 0) this.#ends = [];
    const isDue = last === undefined || order < 0 || nowMs - last.seenMs >= this.spacingMs;
    if (order !== 0 && isDue) this.#ends.push({ position, seenMs: nowMs });
    this.#prune(nowMs);
  }

  /** Takes over what somebody else has noted, the oldest first. */
  restore(ends: readonly LogEnd[], nowMs: number): void {
    this.#ends = [...ends];
    this.#prune(nowMs);
  }

  /** Records up to here, itself included, are at least ageMs old; null: none is known to be. */
  upTo(nowMs: number): string | null {
    this.#prune(nowMs);
    const first = this.#ends.at(0);
    return first !== undefined && nowMs - first.seenMs >= this.#ageMs ? first.position : null;
  }

  #prune(nowMs: number): void {
    let aged = 0;
    while (aged + 1 < this.#ends.length && nowMs - this.#ends[aged + 1].seenMs >= this.#ageMs) aged += 1;
    if (aged > 0) this.#ends.splice(0, aged);
  }
}
