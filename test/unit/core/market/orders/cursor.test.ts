import { test } from 'tap';
import {
  cursorAt,
  formatCursor,
  isAtEnd,
  moveBehind,
  nextStep,
  parseCursor,
  type ChainReach,
} from '../../../../../src/core/market/orders/cursor.ts';

const reach = (position: bigint | null, hole: ChainReach['hole'] = null): ChainReach => ({
  origin: 100n,
  position,
  hole,
});
const gap = (
  first: bigint,
  last: bigint,
  state: 'open' | 'unfillable' | 'skipped' = 'open',
  ageMs = 0,
): ChainReach['hole'] => ({
  first,
  last,
  state,
  ageMs,
});
const WAIT_MS = 10_000;

void test('it reads up to the position and never beyond it', (t) => {
  t.strictSame(nextStep(cursorAt(100n), reach(null), WAIT_MS), { kind: 'wait' });
  t.strictSame(nextStep(cursorAt(100n), reach(99n), WAIT_MS), { kind: 'wait' });
  t.strictSame(nextStep(cursorAt(100n), reach(100n), WAIT_MS), { kind: 'read', upTo: 100n });
  t.strictSame(nextStep(cursorAt(100n), reach(250n), WAIT_MS), { kind: 'read', upTo: 250n });
  t.end();
});

void test('it reads up to a gap, waits at an open one until it is old, and passes it', (t) => {
  t.strictSame(nextStep(cursorAt(100n), reach(250n, gap(150n, 160n)), WAIT_MS), { kind: 'read', upTo: 149n });
  const at = cursorAt(150n);
  t.strictSame(nextStep(at, reach(250n, gap(150n, 160n)), WAIT_MS), { kind: 'wait' });
  t.strictSame(nextStep(at, reach(250n, gap(150n, 160n, 'open', 9_999)), WAIT_MS), { kind: 'wait' });
  const passed = { kind: 'pass', range: { first: 150n, last: 160n } };
  t.strictSame(nextStep(at, reach(250n, gap(150n, 160n, 'open', 10_000)), WAIT_MS), passed);
  t.strictSame(nextStep(at, reach(250n, gap(140n, 160n, 'unfillable')), WAIT_MS), passed);
  t.strictSame(nextStep(at, reach(250n, gap(150n, 160n, 'skipped')), WAIT_MS), passed);
  t.end();
});

void test('the row of the cursor is read back as it was written', (t) => {
  const cursor = cursorAt(2n ** 63n - 2n);
  cursor.sequence = 7n;
  cursor.passed.add({ first: 5n, last: 9n });
  cursor.passed.add({ first: 541_409_766n, last: 541_418_777n });
  const read = parseCursor(JSON.parse(formatCursor(cursor)));
  t.equal(read.tick, cursor.tick);
  t.equal(read.sequence, 7n);
  t.strictSame(read.passed.list(), cursor.passed.list());
  t.end();
});

void test('behind the highest number there is nothing', (t) => {
  const cursor = cursorAt(2n ** 63n - 1n);
  t.equal(isAtEnd(cursor), false);
  moveBehind(cursor, 2n ** 63n - 1n);
  t.equal(isAtEnd(cursor), true);
  t.equal(cursor.sequence, -1n);
  t.end();
});
