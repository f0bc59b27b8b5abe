import { RangeSet, type TickRange } from '../../ingest/ranges.ts';

/** Up to where the orders of the chain are published. */
export interface OrdersCursor {
  /** the first tick that is not completely published */
  tick: bigint;
  /** that tick is published up to this sequence number; −1: nothing of it */
  sequence: bigint;
  /** numbers below `tick` that were not stored when passed: open gaps, dead letters. They may still be stored later */
  passed: RangeSet;
}

/** The state of the stored chain from the cursor on. */
export interface ChainReach {
  /** the first tick ever received; null: none yet */
  origin: bigint | null;
  /** end of the contiguously recorded range, counting recorded gaps; null when nothing is recorded */
  position: bigint | null;
  /** the first unfilled gap at or beyond the cursor and below the position */
  hole: (TickRange & { state: 'open' | 'unfillable' | 'skipped'; ageMs: number }) | null;
}

export type OrdersStep =
  /** nothing to publish yet */
  | { kind: 'wait' }
  /** these numbers are not stored; continue after them */
  | { kind: 'pass'; range: TickRange }
  /** everything from the cursor up to this tick is committed */
  | { kind: 'read'; upTo: bigint };

/** Highest tick or sequence number that can be stored. */
const INT64_MAX = 0x7fff_ffff_ffff_ffffn;

export function cursorAt(origin: bigint): OrdersCursor {
  return { tick: origin, sequence: -1n, passed: new RangeSet() };
}

/** Decides the next step. Waits for an open gap until it is gapWaitMs old; it may be filled later, or never. */
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

/** Moves the cursor to the start of the next tick. */
export function moveBehind(cursor: OrdersCursor, tick: bigint): void {
  cursor.tick = tick + 1n;
  cursor.sequence = -1n;
}

/** Whether the last possible tick is published: nothing can follow. */
export function isAtEnd({ tick }: OrdersCursor): boolean {
  return tick > INT64_MAX;
}

/** As stored in stage_cursors. */
export function formatCursor({ tick, sequence, passed }: OrdersCursor): string {
  return JSON.stringify({
    tick: tick.toString(),
    sequence: sequence.toString(),
    passed: passed.list().map(({ first, last }) => [first.toString(), last.toString()]),
  });
}

/** @throws Error when the value was not written by formatCursor */
export function parseCursor(value: unknown): OrdersCursor {
  const { tick, sequence, passed } = value as { tick: string; sequence: string; passed: [string, string][] };
  return {
    tick: BigInt(tick),
    sequence: BigInt(sequence),
    passed: new RangeSet(passed.map(([first, last]) => ({ first: BigInt(first), last: BigInt(last) }))),
  };
}
