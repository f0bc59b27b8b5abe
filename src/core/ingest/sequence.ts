import { RangeSet, type TickRange } from './ranges.ts';

/**
 * Where a numbered frame belongs: what the reader thread does with it. Every number is put to the Sequence in the order
 * of arrival.
 *
 *   next      the number that was due: append it
 *   ahead     beyond the one due: buffer it, the missing ones may still come (reorder window)
 *   late      inside a gap that was already declared: store it, it fills the gap
 *   resume    stored before this start, sent again because the stream resumed below it: count it
 *   repeated  seen before on this stream: count it
 */
export type Placement = 'next' | 'ahead' | 'late' | 'resume' | 'repeated';

export interface SequenceStart {
  /** the number that is due, or null when the first number received becomes the origin */
  expected: bigint | null;
  /** ranges above `expected` that the ledger already holds: skipped, never rewritten */
  stored: readonly TickRange[];
  /** gaps of the store that a tick may still fill: open, or given up as unfillable */
  openGaps: readonly TickRange[];
  /** hex digits of the output of the tick before `expected`, which is stored; null when it is not known */
  previousOutput?: string | null;
}

export class Sequence {
  #expected: bigint | null;
  readonly #stored: RangeSet;
  readonly #openGaps: RangeSet;
  /** the highest number taken, buffered or known to be stored */
  #highest: bigint;
  readonly #buffered = new RangeSet();
  /** late numbers that were stored; kept while they lie ahead of the one that is due */
  readonly #filled = new RangeSet();

  constructor(start: SequenceStart) {
    this.#stored = new RangeSet(start.stored);
    this.#openGaps = new RangeSet(start.openGaps);
    this.#expected = start.expected;
    this.#highest = start.expected === null ? -1n : start.expected - 1n;
    if (this.#expected !== null) this.#advance(this.#expected);
  }

  /** The number that is due next; null before the first one of a new chain. */
  get expected(): bigint | null {
    return this.#expected;
  }

  get highest(): bigint {
    return this.#highest;
  }

  /** How many numbers giveUp() would pass over at once, what is known of them included; 0 when nothing is buffered. */
  get jump(): bigint {
    const lowest = this.lowestBuffered;
    return lowest === null || this.#expected === null ? 0n : lowest - this.#expected;
  }

  get lowestBuffered(): bigint | null {
    return this.#buffered.list()[0]?.first ?? null;
  }

  /** The lowest part of this range that lies in a gap: declared, and not filled since. */
  gapWithin(range: TickRange): TickRange | null {
    return this.#openGaps.within(range, 1)[0] ?? null;
  }

  place(number: bigint): Placement {
    if (this.#expected === null) {
      this.#expected = number;
      this.#highest = number - 1n;
    }
    // also ahead of the one that is due: after a restart the store may know gaps beyond the position
    if (this.#openGaps.has(number)) return 'late';
    if (number === this.#expected) return 'next';
    if (this.#stored.has(number)) return 'resume';
    if (number < this.#expected || this.#buffered.has(number) || this.#filled.has(number)) return 'repeated';
    return 'ahead';
  }

  /** The caller has appended the number that was due. */
  tookNext(): void {
    const expected = this.#expected;
    if (expected === null) throw new Error('no number is due before the first one was placed');
    this.#buffered.remove({ first: expected, last: expected });
    this.#advance(expected + 1n);
  }

  /** The caller keeps this number until the ones before it have come or are given up. */
  buffered(number: bigint): void {
    this.#buffered.add({ first: number, last: number });
    if (number > this.#highest) this.#highest = number;
  }

  /** The caller stored a late number: its gap is smaller now. */
  tookLate(number: bigint): void {
    this.#openGaps.remove({ first: number, last: number });
    if (this.#expected !== null && number > this.#expected) this.#filled.add({ first: number, last: number });
  }

  /**
   * Gives up waiting for what is missing below the lowest buffered number. Returns the new gaps (without what was already
   * known as a gap or is stored), in order; the lowest buffered number is due afterwards.
   */
  giveUp(): TickRange[] {
    const lowest = this.#buffered.list()[0];
    const expected = this.#expected;
    if (lowest === undefined || expected === null) return [];
    const known = new RangeSet([...this.#stored.list(), ...this.#openGaps.list()]);
    const gaps = known.missing({ first: expected, last: lowest.first - 1n });
    for (const gap of gaps) this.#openGaps.add(gap);
    this.#advance(lowest.first);
    return gaps;
  }

  /** What is buffered does not survive a reconnect: the stream sends it again from the number that is due. */
  forgetBuffered(): void {
    for (const range of this.#buffered.list().slice()) this.#buffered.remove(range);
    if (this.#expected !== null) this.#highest = this.#expected - 1n;
  }

  /** What is stored, filled or given up is passed over: it is not due any more. */
  #advance(next: bigint): void {
    let due = next;
    for (;;) {
      const known = this.#stored.find(due) ?? this.#openGaps.find(due) ?? this.#filled.find(due);
      if (known === undefined) break;
      due = known.last + 1n;
    }
    this.#expected = due;
    if (this.#expected - 1n > this.#highest) this.#highest = this.#expected - 1n;
  }
}
