/** In the place of an offset: the group has committed none. */
export const NOT_YET = -1;

interface HandedOutRecord {
  readonly offset: number;
  acknowledged: boolean;
}

/**
 * What one member has in flight of one partition, in the order of its offsets. Kafka remembers one offset for a partition:
 * of what was acknowledged only the contiguous beginning can be committed.
 */
export class OffsetTracker {
  readonly partition: number;
  /** the offset that was read first */
  readonly start: number;
  /** as the broker knows it; NOT_YET when it knows none */
  committed: number;
  /** false once others have the partition: what is in flight here no longer matters */
  valid = true;
  /** in order; acknowledged ones stay until everything before them is acknowledged, too */
  readonly #handedOut: HandedOutRecord[] = [];
  readonly #byOffset = new Map<number, HandedOutRecord>();
  /** index of the first one that is not acknowledged */
  #first = 0;
  /** everything below this offset that was handed out is acknowledged */
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
    return this.#first < this.#handedOut.length ? this.#handedOut[this.#first].offset : this.#done;
  }

  /** True when what the broker knows by now is no more than what was acknowledged here. */
  resume(committed: number): boolean {
    if (committed < this.committed || committed > this.committable) return false;
    this.committed = committed;
    return true;
  }

  take(offset: number): void {
    const record = { offset, acknowledged: false };
    this.#handedOut.push(record);
    this.#byOffset.set(offset, record);
  }

  /** False: it is not in flight (acknowledged before, or handed out before a restart). */
  acknowledge(offset: number): boolean {
    const record = this.#byOffset.get(offset);
    if (record === undefined) return false;
    record.acknowledged = true;
    this.#byOffset.delete(offset);
    while (this.#first < this.#handedOut.length && this.#handedOut[this.#first].acknowledged) {
      this.#done = this.#handedOut[this.#first].offset + 1;
      this.#first += 1;
    }
    if (this.#first > 1024 && this.#first * 2 > this.#handedOut.length) {
      this.#handedOut.splice(0, this.#first);
      this.#first = 0;
    }
    return true;
  }
}
