/** A contiguous range of tick numbers, both ends included. */
export interface TickRange {
  first: bigint;
  last: bigint;
}

/**
 * A set of tick numbers kept as sorted, disjoint, non-adjacent ranges. Small by nature: what is in flight, what the
 * ledger holds above the position, the open gaps. Binary search to ask, a splice to change.
 */
export class RangeSet {
  readonly #ranges: TickRange[] = [];

  constructor(ranges: Iterable<TickRange> = []) {
    for (const range of ranges) this.add(range);
  }

  get size(): number {
    return this.#ranges.length;
  }

  /** The ranges in order; not to be changed by the caller. */
  list(): readonly TickRange[] {
    return this.#ranges;
  }

  /** How many numbers the set holds. */
  count(): bigint {
    return this.#ranges.reduce((sum, range) => sum + range.last - range.first + 1n, 0n);
  }

  /** The range that holds `number`, or undefined. */
  find(number: bigint): TickRange | undefined {
    const at = this.#firstEndingAtOrAfter(number);
    const range = this.#ranges[at];
    return range !== undefined && range.first <= number ? range : undefined;
  }

  has(number: bigint): boolean {
    return this.find(number) !== undefined;
  }

  add({ first, last }: TickRange): void {
    if (last < first) throw new RangeError(`a range ends before it begins: ${first}..${last}`);
    const from = this.#firstEndingAtOrAfter(first - 1n);
    let to = from;
    let low = first;
    let high = last;
    for (
      let range = this.#ranges[to];
      range !== undefined && range.first <= last + 1n;
      range = this.#ranges[to]
    ) {
      if (range.first < low) low = range.first;
      if (range.last > high) high = range.last;
      to += 1;
    }
    this.#ranges.splice(from, to - from, { first: low, last: high });
  }

  remove({ first, last }: TickRange): void {
    const from = this.#firstEndingAtOrAfter(first);
    let to = from;
    const rest: TickRange[] = [];
    for (let range = this.#ranges[to]; range !== undefined && range.first <= last; range = this.#ranges[to]) {
      if (range.first < first) rest.push({ first: range.first, last: first - 1n });
      if (range.last > last) rest.push({ first: last + 1n, last: range.last });
      to += 1;
    }
    this.#ranges.splice(from, to - from, ...rest);
  }

  /** What of `wanted` this set does not hold, in order. */
  missing(wanted: TickRange): TickRange[] {
    const rest: TickRange[] = [];
    let next = wanted.first;
    for (let at = this.#firstEndingAtOrAfter(wanted.first); next <= wanted.last; at += 1) {
      const range = this.#ranges[at];
      if (range === undefined || range.first > wanted.last) {
        rest.push({ first: next, last: wanted.last });
        break;
      }
      if (range.first > next) rest.push({ first: next, last: range.first - 1n });
      next = range.last + 1n;
    }
    return rest;
  }

  /** What of `wanted` this set holds, in order; at most `limit` parts. */
  within(wanted: TickRange, limit = Infinity): TickRange[] {
    const parts: TickRange[] = [];
    for (let at = this.#firstEndingAtOrAfter(wanted.first); parts.length < limit; at += 1) {
      const range = this.#ranges[at];
      if (range === undefined || range.first > wanted.last) break;
      parts.push({
        first: range.first > wanted.first ? range.first : wanted.first,
        last: range.last < wanted.last ? range.last : wanted.last,
      });
    }
    return parts;
  }

  #firstEndingAtOrAfter(number: bigint): number {
    return firstEndingAtOrAfter(this.#ranges, number);
  }
}

/** Index of the first of these ranges, which are in order and disjoint, that ends at `number` or later; their count when none does. */
export function firstEndingAtOrAfter(ranges: readonly TickRange[], number: bigint): number {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ranges[middle].last < number) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * The position: the end of the contiguous prefix that begins at `origin`, over everything that is recorded. Gaps count
 * as recorded, so that a hole does not hold the position (spec P5). `origin - 1` when the origin itself is missing.
 */
export function contiguousPrefix(origin: bigint, recorded: RangeSet): bigint {
  return recorded.find(origin)?.last ?? origin - 1n;
}
