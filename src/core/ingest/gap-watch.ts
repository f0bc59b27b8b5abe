import { firstEndingAtOrAfter, RangeSet, type TickRange } from './ranges.ts';

/** A gap that has no open number left. */
export interface ClosedGap extends TickRange {
  /** numbers that came, as ticks or as dead letters */
  filled: bigint;
  /** numbers that were given up */
  unfillable: bigint;
}

/** Follows gaps until they are closed, so that each is reported once and not with every tick of it. */
export class GapWatch {
  /** sorted, disjoint */
  readonly #gaps: ClosedGap[] = [];
  readonly #open = new RangeSet();

  constructor(gaps: readonly TickRange[]) {
    for (const gap of gaps) this.add(gap);
  }

  add({ first, last }: TickRange): void {
    this.#gaps.splice(firstEndingAtOrAfter(this.#gaps, first), 0, {
      first,
      last,
      filled: 0n,
      unfillable: 0n,
    });
    this.#open.add({ first, last });
  }

  /** What of this range is recorded as a gap and open. */
  openWithin(range: TickRange): TickRange[] {
    return this.#open.within(range);
  }

  /** Returns the gaps that are closed by this. */
  close(range: TickRange, outcome: 'filled' | 'unfillable'): ClosedGap[] {
    return this.#open.within(range).flatMap((part) => {
      this.#open.remove(part);
      return this.#closePart(part, outcome);
    });
  }

  #closePart(part: TickRange, outcome: 'filled' | 'unfillable'): ClosedGap[] {
    const closed: ClosedGap[] = [];
    for (let at = firstEndingAtOrAfter(this.#gaps, part.first); at < this.#gaps.length;) {
      const gap = this.#gaps[at];
      if (gap.first > part.last) break;
      const first = gap.first > part.first ? gap.first : part.first;
      const last = gap.last < part.last ? gap.last : part.last;
      gap[outcome] += last - first + 1n;
      if (gap.filled + gap.unfillable <= gap.last - gap.first) at += 1;
      else closed.push(...this.#gaps.splice(at, 1));
    }
    return closed;
  }
}
