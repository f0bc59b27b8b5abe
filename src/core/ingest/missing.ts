import type { TickRange } from './ranges.ts';

export interface Explained<Cause extends string> extends TickRange {
  cause: Cause;
}

/**
 * Cuts what is missing by its cause: each number goes to the first cause that covers it, or else to `otherwise`.
 * All ranges come in order, and those of one list do not overlap; the result is in order as well.
 */
export function explainMissing<Cause extends string>(
  missing: readonly TickRange[],
  causes: readonly (readonly [Cause, readonly TickRange[]])[],
  otherwise: Cause,
): Explained<Cause>[] {
  const explained: Explained<Cause>[] = [];
  let rest = missing;
  for (const [cause, covered] of causes) {
    const { inside, outside } = cut(rest, covered);
    for (const range of inside) explained.push({ ...range, cause });
    rest = outside;
  }
  for (const range of rest) explained.push({ ...range, cause: otherwise });
  return explained.sort((a, b) => (a.first < b.first ? -1 : 1));
}

/** What of `ranges` lies in `by` and what does not. */
function cut(
  ranges: readonly TickRange[],
  by: readonly TickRange[],
): { inside: TickRange[]; outside: TickRange[] } {
  const inside: TickRange[] = [];
  const outside: TickRange[] = [];
  let at = 0;
  for (const { first, last } of ranges) {
    let next = first;
    while (at < by.length && by[at].last < first) at += 1;
    for (let i = at; i < by.length && by[i].first <= last; i++) {
      const from = by[i].first > next ? by[i].first : next;
      const to = by[i].last < last ? by[i].last : last;
      if (from > next) outside.push({ first: next, last: from - 1n });
      inside.push({ first: from, last: to });
      next = to + 1n;
    }
    if (next <= last) outside.push({ first: next, last });
  }
  return { inside, outside };
}
