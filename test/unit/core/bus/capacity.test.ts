import fc from 'fast-check';
import { test } from 'tap';
import { judgeCapacity, CAPACITY_LIMITS } from '../../../../src/core/bus/capacity.ts';

const TEN_MINUTES_MS = 600_000;
const DAY_MS = 86_400_000;

function isFull(bytes: number, wasFull: boolean): boolean {
  return judgeCapacity({ bytes, maxBytes: 100 }, wasFull).isFull;
}

void test('below half of it, acknowledged records stay for ten minutes', async (t) => {
  t.same(judgeCapacity({ bytes: 49, maxBytes: 100 }, false), {
    policy: { acknowledgedMs: TEN_MINUTES_MS, retentionMs: DAY_MS },
    isFilling: false,
    isFull: false,
  });
});

void test('from half of it on they go at once; topics without groups keep theirs', async (t) => {
  for (const bytes of [50, 79, 80, 200]) {
    const { policy, isFilling } = judgeCapacity({ bytes, maxBytes: 100 }, false);
    t.same(policy, { acknowledgedMs: 0, retentionMs: DAY_MS });
    t.equal(isFilling, true);
  }
});

void test('publishers wait from 80 % on, until it is below 75 %', async (t) => {
  t.equal(isFull(79, false), false);
  t.equal(isFull(80, false), true);
  t.equal(isFull(79, true), true);
  t.equal(isFull(75, true), true);
  t.equal(isFull(74, true), false);
});

void test('a bus that may hold nothing is full', async (t) => {
  t.equal(judgeCapacity({ bytes: 0, maxBytes: 0 }, false).isFull, true);
});

void test('more bytes never mean more room', async () => {
  const bytes = fc.nat({ max: 2 ** 40 });
  fc.assert(
    fc.property(
      bytes,
      bytes,
      fc.integer({ min: 1, max: 2 ** 40 }),
      fc.boolean(),
      (a, b, maxBytes, wasFull) => {
        const less = judgeCapacity({ bytes: Math.min(a, b), maxBytes }, wasFull, CAPACITY_LIMITS);
        const more = judgeCapacity({ bytes: Math.max(a, b), maxBytes }, wasFull, CAPACITY_LIMITS);
        return (
          Number(less.isFull) <= Number(more.isFull) &&
          Number(less.isFilling) <= Number(more.isFilling) &&
          less.policy.acknowledgedMs >= more.policy.acknowledgedMs &&
          (!more.isFull || more.isFilling)
        );
      },
    ),
  );
});
