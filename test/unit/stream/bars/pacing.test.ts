import assert from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import { StepPacing } from '../../../../src/stream/bars/pacing.ts';

const LIMITS = { maxBatchSize: 500, flushTimeoutMs: 200 };
const quiet = { hasWork: false, eventsSinceStep: 0, activeWindows: 0 };
const moved = { ...quiet, eventsSinceStep: 10 };
const work = { ...moved, hasWork: true };

/** One that has read everything there was. */
function caughtUp(limits = LIMITS): StepPacing {
  const pace = new StepPacing(limits);
  pace.took(1, 0);
  return pace;
}

/** One that has more to read. */
function behind(limits = LIMITS): StepPacing {
  const pace = new StepPacing(limits);
  pace.took(pace.readCount, 0);
  return pace;
}

/** The first ms at which a step is due, looking at every one of them. */
function dueAt(pace: StepPacing, windows: typeof quiet, hasLetters = false): number | null {
  for (let ms = 0; ms <= 3_000; ms += 1) if (pace.isDue(ms, windows, hasLetters)) return ms;
  return null;
}

void test('closed windows are gathered for a moment when nothing more is there', (t) => {
  t.equal(dueAt(caughtUp(), work), 50);
  t.equal(dueAt(caughtUp({ ...LIMITS, flushTimeoutMs: 20 }), work), 20);
  t.equal(dueAt(caughtUp({ ...LIMITS, flushTimeoutMs: 0 }), work), 0);
  t.end();
});

void test('behind, they wait for the flush timeout and not longer', (t) => {
  t.equal(dueAt(behind(), work), 200);
  t.equal(dueAt(behind({ ...LIMITS, flushTimeoutMs: 7 }), work), 7);
  const pace = behind();
  t.notOk(pace.isDue(0, work, false));
  pace.took(3, 60);
  t.ok(pace.isDue(60, work, false), 'caught up meanwhile');
  t.end();
});

void test('dead letters wait no longer than closed windows', (t) => {
  t.equal(dueAt(caughtUp(), moved, true), 50);
  t.equal(dueAt(behind(), moved, true), 200);
  t.end();
});

void test('a position alone is written once a second, and none that did not move', (t) => {
  t.equal(dueAt(caughtUp(), moved), 1_000);
  t.equal(dueAt(behind(), moved), 1_000);
  t.equal(dueAt(caughtUp(), quiet), null);
  const pace = caughtUp();
  t.notOk(pace.isDue(0, moved, false));
  t.ok(pace.isDue(1_000, moved, false));
  pace.stepped();
  t.notOk(pace.isDue(1_001, moved, false));
  t.notOk(pace.isDue(2_000, moved, false));
  t.ok(pace.isDue(2_001, moved, false));
  t.end();
});

void test('a step is due at once when another read might make it too large', (t) => {
  const pace = behind({ maxBatchSize: 3_000, flushTimeoutMs: 200 });
  t.equal(pace.readCount, 1_000);
  t.notOk(pace.isDue(0, { ...quiet, eventsSinceStep: 2_000 }, false));
  t.ok(pace.isDue(0, { ...quiet, eventsSinceStep: 2_001 }, false));
  t.equal(
    dueAt(caughtUp({ maxBatchSize: 100, flushTimeoutMs: 200 }), work),
    50,
    'a few events fill no small step',
  );
  const small = new StepPacing({ maxBatchSize: 1, flushTimeoutMs: 200 });
  t.equal(small.readCount, 1);
  t.notOk(small.isDue(0, quiet, false), 'there is nothing to write');
  t.ok(small.isDue(0, { ...quiet, eventsSinceStep: 1 }, false));
  t.end();
});

void test('how long nothing came is told only when nothing more is there', (t) => {
  t.equal(new StepPacing(LIMITS).quietMs(500), 0);
  t.equal(behind().quietMs(500), 0);
  const pace = caughtUp();
  pace.took(0, 300);
  t.equal(pace.quietMs(500), 500);
  t.end();
});

void test('a read waits 5 ms at least and not beyond what has to be done next, so no step is missed', (t) => {
  const event = fc.record({
    afterMs: fc.oneof(fc.integer({ min: 0, max: 80 }), fc.double({ min: 0, max: 2_000, noNaN: true })),
    took: fc.constantFrom(0, 1, 1_000),
    hasWork: fc.boolean(),
    eventsSinceStep: fc.integer({ min: 0, max: 400 }),
    activeWindows: fc.integer({ min: 0, max: 2 }),
    hasLetters: fc.boolean(),
  });
  const limits = fc.record({
    maxBatchSize: fc.integer({ min: 1, max: 5_000 }),
    flushTimeoutMs: fc.integer({ min: 0, max: 500 }),
  });
  fc.assert(
    fc.property(limits, fc.array(event, { maxLength: 40, size: 'max' }), (limits, events) => {
      const pace = new StepPacing(limits);
      let nowMs = 0;
      let waitingMs: number | null = null;
      for (const { afterMs, took, hasLetters, ...windows } of events) {
        nowMs += afterMs;
        pace.took(took, nowMs);
        const isDue = pace.isDue(nowMs, windows, hasLetters);
        if (windows.hasWork || hasLetters) waitingMs ??= nowMs;
        const waitMs = pace.waitMs(nowMs, windows);
        assert.ok(waitMs >= 5 && waitMs <= 1_000);
        if (waitingMs !== null) {
          const deadlineMs = waitingMs + Math.min(50, limits.flushTimeoutMs);
          assert.ok(waitMs <= Math.max(5, Math.ceil(deadlineMs - nowMs)), 'up to the step');
          // As a difference: of two sums of fractions the last bit may say otherwise.
          assert.ok(isDue || nowMs - waitingMs < limits.flushTimeoutMs, 'never later than the timeout');
        } else if (windows.activeWindows > 0) {
          assert.ok(waitMs <= 100, 'idle symbols are looked for');
        }
        if (isDue) {
          pace.stepped();
          waitingMs = null;
        }
      }
    }),
    { numRuns: 500 },
  );
  t.end();
});
