import { explainMissing, type Explained } from '../../ingest/missing.ts';
import type { TickRange } from '../../ingest/ranges.ts';

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

export type MissingRange = Explained<MissingReason>;

/** For people. */
export const MISSING_TEXT: Readonly<Record<MissingReason, string>> = {
  open_gap: 'not stored: an open gap',
  unfillable_gap: 'not stored: a gap that cannot be filled',
  skipped_gap: 'not stored: skipped by an operator',
  dead_letter: 'not stored: an unresolved dead letter',
  not_received: 'not stored: beyond the position',
  unexplained: 'not stored, and no gap or dead letter says why',
};

/** Why each of these ranges is not stored. They are in order, and so is the result. */
export function explainHoles(missing: readonly TickRange[], known: KnownHoles): MissingRange[] {
  const ofState = (state: KnownHoles['gaps'][number]['state']): TickRange[] =>
    known.gaps.filter((gap) => gap.state === state);
  const beyond = known.position === null ? [] : [{ first: known.position + 1n, last: U64_MAX }];
  return explainMissing(
    missing,
    [
      ['open_gap', ofState('open')],
      ['unfillable_gap', ofState('unfillable')],
      ['skipped_gap', ofState('skipped')],
      ['dead_letter', known.deadLetters.map((number) => ({ first: number, last: number }))],
      ['not_received', beyond],
    ],
    'unexplained',
  );
}

const U64_MAX = 2n ** 64n - 1n;
