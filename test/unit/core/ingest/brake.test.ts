import fc from 'fast-check';
import { test } from 'tap';
import { BRAKE_WINDOW_MS, ConflictStreak, DeadLetterBrake } from '../../../../src/core/ingest/brake.ts';

void test('no more than the limit in a window, after the first ones', async (t) => {
  const brake = new DeadLetterBrake(10);
  t.equal(brake.admit(7, 0), true);
  t.equal(brake.admit(3, 1_000), true);
  t.equal(brake.isOver(1_000), false);
  t.equal(brake.admit(1, 2_000), false);
  t.equal(brake.admit(7, BRAKE_WINDOW_MS), true, 'the oldest ones are out of the window');
  t.equal(brake.admit(1, BRAKE_WINDOW_MS), false);
});

void test('one batch with more than the limit is written, and then it is over', async (t) => {
  const brake = new DeadLetterBrake(10);
  t.equal(brake.admit(500, 0), true);
  t.equal(brake.isOver(0), true);
  t.equal(brake.admit(1, 1), false);
  t.equal(brake.isOver(BRAKE_WINDOW_MS), false);
});

void test('it begins with what the store has', async (t) => {
  const brake = new DeadLetterBrake(10);
  brake.begin(
    [
      { ageMs: 1_000, count: 4 },
      { ageMs: BRAKE_WINDOW_MS - 1_000, count: 5 },
    ],
    50_000,
  );
  t.equal(brake.admit(2, 50_000), false);
  t.equal(brake.admit(2, 51_000), true, 'five of them are ten minutes old now');
});

void test('the sum of a window is that of a recount', async () => {
  const step = fc.record({
    count: fc.integer({ min: 1, max: 9 }),
    waitMs: fc.integer({ min: 0, max: 400_000 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const brake = new DeadLetterBrake(20);
      const admitted: { atMs: number; count: number }[] = [];
      let nowMs = 0;
      for (const { count, waitMs } of steps) {
        nowMs += waitMs;
        const recent = admitted.filter(({ atMs }) => nowMs - atMs < BRAKE_WINDOW_MS);
        const sum = recent.reduce((total, entry) => total + entry.count, 0);
        const wanted = sum === 0 || sum + count <= 20;
        if (brake.admit(count, nowMs) !== wanted) return false;
        if (wanted) admitted.push({ atMs: nowMs, count });
      }
      return true;
    }),
  );
});

void test('conflicts count as long as they follow each other directly', async (t) => {
  const streak = new ConflictStreak();
  t.same(
    [0, 5, 6, 7, 9, 10].map((ordinal) => streak.conflict(ordinal)),
    [1, 1, 2, 3, 1, 2],
  );
  streak.clear();
  t.equal(streak.conflict(11), 1);
});
