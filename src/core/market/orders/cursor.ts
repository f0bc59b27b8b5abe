import { RangeSet, type TickRange } from '../../ingest/ranges.ts';

/** How far the orders of the chain are published. */
export interface OrdersCursor {
  /** the first tick of which not everything is published */
  tick: bigint;
  /** what is published of that tick: up to this sequence number; −1: nothing */
  sequence: bigint;
  /** numbers below `tick` that were not stored when they were passed: open gaps, dead letters. They may be stored yet */
  passed: RangeSet;
}

/** What the store says of the chain from the cursor on. */
export interface ChainReach {
  /** the first tick ever received; null before it */
  origin: bigint | null;
  /** end of what is recorded without a hole, gaps counted; null when nothing is */
  position: bigint | null;
  /** the first gap at or beyond the cursor and below the position that is not filled */
  hole: (TickRange & { state: 'open' | 'unfillable' | 'skipped'; ageMs: number }) | null;
}

export type OrdersStep =
  /** nothing to publish yet */
  | { kind: 'wait' }
  /** these numbers are not stored; go on behind them */
  | { kind: 'pass'; range: TickRange }
  /** everything from the cursor up to this tick is committed */
  | { kind: 'read'; upTo: bigint };

/** Highest number of a tick, and of a sequence, that is stored. */
const INT64_MAX = 0x7fff_ffff_ffff_ffffn;

export function cursorAt(origin: bigint): OrdersCursor {
  return { tick: origin, sequence: -1n, passed: new RangeSet() };
}

/** What to do next. An open gap is waited for until it is gapWaitMs old; it is not known when, or whether, it is filled. */
export function nextStep(cursor: OrdersCursor, reach: ChainReach, gapWaitMs: number): OrdersStep {
  const { position, hole } = reach;
  if (position === null || cursor.tick > position) return { kind: 'wait' };
  if (hole === null) return { kind: 'read', upTo: position };
  if (hole.first > cursor.tick) {
    const upTo = hole.first - 1n;
    return { kind: 'read', upTo: upTo < position ? upTo : position };
  }
  if (hole.state === 'open' && hole.ageMs < gapWaitMs) return { kind: 'wait' };
  return { kind: 'pass', range: { first: cursor.tick, last: hole.last } };
}

/** The cursor behind a whole tick. */
export function moveBehind(cursor: OrdersCursor, tick: bigint): void {
  cursor.tick = tick + 1n;
  cursor.sequence = -1n;
}

/** The last tick that there can be is published: there is nothing to ask for any more. */
export function isAtEnd({ tick }: OrdersCursor): boolean {
  return tick > INT64_MAX;
}

/** As the row of stage_cursors holds it. */
export function formatCursor({ tick, sequence, passed }: OrdersCursor): string {
  return JSON.stringify({
    tick: tick.toString(),
    sequence: sequence.toString(),
    passed: passed.list().map(({ first, last }) => [first.toString(), last.toString()]),
  });
}

/** @throws Error when it is not what formatCursor wrote */
export function parseCursor(value: unknown): OrdersCursor {
  const { tick, sequence, passed } = value as { tick: string; sequence: string; passed: [string, string][] };
  return {
    tick: BigInt(tick),
    sequence: BigInt(sequence),
    passed: new RangeSet(passed.map(([first, last]) => ({ first: BigInt(first), last: BigInt(last) }))),
  };
}
