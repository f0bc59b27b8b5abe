import fc from 'fast-check';
import { test } from 'tap';
import { dueMs, lagMs, reachedUs, waitMs, withSpeed, type Pace } from '../../../../src/core/replay/pacing.ts';

const SECOND = 1_000_000;

void test('event time runs beside the clock, at its speed', (t) => {
  const pace: Pace = { anchorMs: 1_000, anchorUs: 50 * SECOND, speed: 10 };
  t.equal(reachedUs(pace, 1_000), 50 * SECOND);
  t.equal(reachedUs(pace, 1_100), 51 * SECOND);
  t.equal(dueMs(pace, 60 * SECOND), 2_000);
  t.equal(waitMs(pace, 60 * SECOND, 1_500), 500);
  t.equal(waitMs(pace, 60 * SECOND, 2_500), 0, 'what is late is due at once');
  t.equal(lagMs(pace, 60 * SECOND, 2_500), 500);
  t.equal(lagMs(pace, 60 * SECOND, 1_500), 0);
  t.equal(lagMs(pace, null, 2_500), 0, 'nothing is left');
  t.end();
});

void test('at speed 0 everything is due', (t) => {
  const pace: Pace = { anchorMs: 1_000, anchorUs: 50 * SECOND, speed: 0 };
  t.equal(waitMs(pace, 1e15, 0), 0);
  t.equal(reachedUs(pace, 0), Infinity);
  t.equal(lagMs(pace, 1, 1e9), 0);
  t.end();
});

void test('another speed goes on from where event time is', (t) => {
  const pace: Pace = { anchorMs: 0, anchorUs: 0, speed: 1 };
  const faster = withSpeed(pace, 100, 3_000, 0);
  t.equal(reachedUs(faster, 3_000), 3 * SECOND);
  t.equal(reachedUs(faster, 4_000), 103 * SECOND);
  const burst = withSpeed(faster, 0, 4_000, 103 * SECOND);
  const slow = withSpeed(burst, 1, 9_000, 777 * SECOND);
  t.equal(reachedUs(slow, 9_000), 777 * SECOND, 'a burst is where its last event was');
  t.end();
});

void test('a script of events: each is emitted when it is due, whatever wakes happen in between', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 5_000_000 }), { minLength: 1, maxLength: 50 }),
      fc.constantFrom(0.5, 1, 10, 1000),
      fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 20 }),
      (gaps, speed, sleeps) => {
        let us = 0;
        const events = gaps.map((gap) => (us += gap));
        const pace: Pace = { anchorMs: 0, anchorUs: 0, speed };
        let nowMs = 0;
        let wakes = 0;
        for (const event of events) {
          for (let ms = waitMs(pace, event, nowMs); ms > 1e-6; ms = waitMs(pace, event, nowMs)) {
            // woken early, as by a change of orders
            nowMs += Math.min(ms, sleeps[wakes++ % sleeps.length]);
          }
          if (Math.abs(nowMs - event / 1000 / speed) > 1e-3) return false;
        }
        return true;
      },
    ),
  );
  t.end();
});
