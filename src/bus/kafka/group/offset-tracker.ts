export const NOT_YET = -1;

interface Held {
  readonly offset: number;
  acknowledged: boolean;
}

/**
 * What one member has in flight of one partition, in the order of its offsets. Kafka remembers one offset for a partition:
 * of what was acknowledged only the contiguous beginning can be committed.
 */
export class OffsetTracker {
  readonly partition: number;
  /** where the partition was begun */
  readonly start: number;
  /** as the broker knows it; NOT_YET when it knows nothing */
  committed: number;
  /** false once the partition is another's: what is in flight counts no more */
  valid = true;
  readonly #held: Held[] = [];
  readonly #byOffset = new Map<number, Held>();
  #first = 0;
  /** everything before it has been acknowledged, of what was handed out */
  #done: number;

  constructor(partition: number, start: number, committed = start) {
    this.partition = partition;
    this.start = start;
    this.committed = committed;
    this.#done = start;
  }

  /** Handed out and not acknowledged. */
  get pending(): number {
    return this.#byOffset.size;
  }

  /** What may be committed now. */
  get committable(): number {
    return this.#first < this.#held.length ? this.#held[this.#first].offset : this.#done;
  }

  /** True when what the broker knows by now is no more than what was acknowledged here. */
  resume(committed: number): boolean {
    if (committed < this.committed || committed > this.committable) return false;
    this.committed = committed;
    return true;
  }

  take(offset: number): void {
    const held = { offset, acknowledged: false };
    this.#held.push(held);
    this.#byOffset.set(offset, held);
  }

  /** False: it is not in flight (acknowledged before, or handed out in an earlier life). */
  acknowledge(offset: number): boolean {
    const held = this.#byOffset.get(offset);
    if (held === undefined) return false;
    held.acknowledged = true;
    this.#byOffset.delete(offset);
    while (this.#first < this.#held.length && this.#held[this.#first].acknowledged) {
      this.#done = this.#held[this.#first].offset + 1;
      this.#first += 1;
    }
    if (this.#first > 1024 && this.#first * 2 > this.#held.length) {
      this.#held.splice(0, this.#first);
      this.#first = 0;
    }
    return true;
  }
}
