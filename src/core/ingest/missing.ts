import { RangeSet, type TickRange } from './ranges.ts';

/**
 * Sorts what is missing by its cause: each number goes to the first cause that holds it, what none holds to `rest`.
 * Ranges come back in order, those of a cause that touch each other as one.
 */
export function explainMissing<Cause extends string>(
  missing: readonly TickRange[],
  causes: readonly (readonly [Cause, RangeSet])[],
): { explained: Map<Cause, RangeSet>; rest: RangeSet } {
  let left = new RangeSet(missing);
  const explained = new Map<Cause, RangeSet>();
  for (const [cause, held] of causes) {
    const inside = explained.get(cause) ?? new RangeSet();
    const outside = new RangeSet();
    for (const range of left.list()) {
      let next = range.first;
      for (const hole of held.missing(range)) {
        if (hole.first > next) inside.add({ first: next, last: hole.first - 1n });
        outside.add(hole);
        next = hole.last + 1n;
      }
      if (next <= range.last) inside.add({ first: next, last: range.last });
    }
    explained.set(cause, inside);
    left = outside;
  }
  return { explained, rest: left };
}
