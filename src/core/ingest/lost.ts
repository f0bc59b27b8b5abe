import { RangeSet, type TickRange } from './ranges.ts';

/** What the store has recorded, as ranges: ledger, open gaps, gaps given up. */
export interface Recorded {
  origin: bigint | null;
  position: bigint | null;
  storedAhead: readonly TickRange[];
  openGaps: readonly TickRange[];
  unfillable: readonly TickRange[];
}

/**
 * What was confirmed as committed and is gone from the store: ranges that it does not have, and gaps that were closed
 * and are open again.
 */
export function lostRanges(
  ours: { recorded: readonly TickRange[]; openGaps: readonly TickRange[] },
  store: Recorded,
): TickRange[] {
  const theirs = new RangeSet([...store.storedAhead, ...store.openGaps, ...store.unfillable]);
  const { origin, position } = store;
  if (origin !== null && position !== null && position >= origin)
    theirs.add({ first: origin, last: position });
  const recorded = new RangeSet(ours.recorded);
  const open = new RangeSet(ours.openGaps);
  const reopened = store.openGaps.flatMap((gap) =>
    recorded.within(gap).flatMap((range) => open.missing(range)),
  );
  return [...ours.recorded.flatMap((range) => theirs.missing(range)), ...reopened];
}
