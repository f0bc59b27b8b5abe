import type { TickRange } from '../ingest/ranges.ts';

/** Why a number is not stored, as far as the store itself says so. */
export const MISSING_REASONS = [
  'open_gap',
  'unfillable_gap',
  'skipped_gap',
  'dead_letter',
  'not_received',
  'unexplained',
] as const;
export type MissingReason = (typeof MISSING_REASONS)[number];

/** What the store knows of numbers that are not in its tables. */
export interface KnownHoles {
  /** gaps that were not filled, in order */
  gaps: readonly (TickRange & { state: 'open' | 'unfillable' | 'skipped' })[];
  /** numbers of unresolved dead letters, in order */
  deadLetters: readonly bigint[];
  /** beyond it nothing is promised yet; null: everything is */
  position: bigint | null;
}

export interface MissingRange extends TickRange {
  reason: MissingReason;
}

/** For people. */
export const MISSING_TEXT: Readonly<Record<MissingReason, string>> = {
  open_gap: 'not stored: an open gap',
  unfillable_gap: 'not stored: a gap that cannot be filled',
  skipped_gap: 'not stored: skipped by an operator',
  dead_letter: 'not stored: an unresolved dead letter',
  not_received: 'not stored: beyond the position',
  unexplained: 'not stored, and no gap or dead letter says why',
};

/** Cuts ranges that are not stored by the reasons for it; the first that fits counts. The result is in order. */
export function explainMissing(missing: readonly TickRange[], known: KnownHoles): MissingRange[] {
  const explained: MissingRange[] = [];
  let rest = missing;
  const explain = (reason: MissingReason, ranges: readonly TickRange[]): void => {
    const { inside, outside } = cut(rest, ranges);
    for (const range of inside) explained.push({ ...range, reason });
    rest = outside;
  };
  for (const state of ['open', 'unfillable', 'skipped'] as const) {
    explain(
      `${state}_gap`,
      known.gaps.filter((gap) => gap.state === state),
    );
  }
  explain(
    'dead_letter',
    known.deadLetters.map((number) => ({ first: number, last: number })),
  );
  if (known.position !== null) explain('not_received', [{ first: known.position + 1n, last: U64_MAX }]);
  explain('unexplained', rest);
  return explained.sort((a, b) => (a.first < b.first ? -1 : 1));
}

const U64_MAX = 2n ** 64n - 1n;

/** What of `ranges` lies in `by` and what does not. Both are in order, and those of one list do not overlap. */
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
