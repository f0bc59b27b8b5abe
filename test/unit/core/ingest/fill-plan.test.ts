import assert from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import { FillPlan, type FillEntry, type FillState } from '../../../../src/core/ingest/fill-plan.ts';
import { RangeSet } from '../../../../src/core/ingest/ranges.ts';

const LIMITS = {
  missesMax: 3,
  missWaits: { firstMs: 100, maxMs: 1_000 },
  failureWaits: { firstMs: 10, maxMs: 50 },
};
const plan = (): FillPlan => new FillPlan(LIMITS, () => 1);
const one = (p: FillPlan, nowMs: number): FillEntry | undefined => {
  let taken = 0;
  return p.take(nowMs, () => (taken++ === 0 ? 'take' : 'stop'))[0];
};
const fresh: FillState = { mode: 'any', misses: 0, failures: 0 };
const range = (first: bigint, last: bigint): { first: bigint; last: bigint } => ({ first, last });

void test('what is due and chosen is taken, the lowest first', async (t) => {
  const p = plan();
  p.add(range(50n, 59n));
  p.add(range(10n, 39n));
  p.add(range(70n, 71n));
  p.put(range(1n, 2n), fresh, 100);
  t.equal(p.nextMs, 0);
  t.match(
    p.take(0, ({ first, last }) => (first === 70n ? 'stop' : last - first < 20n ? 'take' : 'leave')),
    [range(50n, 59n)],
  );
  t.match(
    p.take(0, () => 'take'),
    [range(10n, 39n), range(70n, 71n)],
  );
  t.strictSame(
    p.take(99, () => 'take'),
    [],
  );
  t.equal(p.nextMs, 100);
  t.match(
    p.take(100, () => 'take'),
    [range(1n, 2n)],
  );
  t.equal(p.nextMs, null);
});

void test('three answers "not there" end it, with growing waits; errors never do', async (t) => {
  const p = plan();
  t.equal(p.missed(range(1n, 4n), fresh, 0), 100);
  const second = one(p, 100)!;
  t.match(second, { misses: 1, notBeforeMs: 100 });
  t.equal(p.missed(range(1n, 4n), second, 100), 200);
  const third = one(p, 300)!;
  t.equal(p.missed(range(1n, 4n), third, 300), null);
  t.equal(p.nextMs, null);

  let state: FillState = fresh;
  let nowMs = 0;
  const waits: number[] = [];
  for (let attempt = 0; attempt < 20; attempt += 1) {
    const waitMs = p.failed(range(7n, 7n), state, nowMs);
    waits.push(waitMs);
    nowMs += waitMs;
    state = one(p, nowMs)!;
  }
  t.strictSame(waits.slice(0, 5), [10, 20, 40, 50, 50]);
  t.equal(waits.at(-1), 50);
});

void test('an error between two answers does not make the count start over, an answer ends the errors', async (t) => {
  const p = plan();
  p.missed(range(1n, 1n), fresh, 0);
  p.failed(range(1n, 1n), one(p, 1e9)!, 0);
  t.match(one(p, 1e9), { misses: 1, failures: 1 });
  p.missed(range(1n, 1n), { mode: 'any', misses: 1, failures: 5 }, 0);
  t.match(one(p, 1e9), { misses: 2, failures: 0 });
});

void test('neighbours in the same state are one range, and wait for the later of them', async (t) => {
  const p = plan();
  p.put(range(5n, 9n), fresh, 40);
  p.put(range(1n, 4n), fresh, 20);
  p.put(range(10n, 12n), { ...fresh, misses: 1 }, 0);
  p.put(range(13n, 13n), { ...fresh, misses: 1 }, 60);
  t.strictSame(
    p.entries.map(({ first, last, notBeforeMs }) => [first, last, notBeforeMs]),
    [
      [1n, 9n, 40],
      [10n, 13n, 60],
    ],
  );
  p.put(range(2n ** 61n, 2n ** 62n), fresh, 0);
  t.equal(p.entries.length, 3);
});

void test('whatever is put, taken and put back: each number is in one entry, in order', async () => {
  const step = fc.record({ at: fc.nat(40), length: fc.integer({ min: 1, max: 6 }), misses: fc.nat(1) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const p = plan();
      const model = new RangeSet();
      for (const { at, length, misses } of steps) {
        const wanted = { first: BigInt(at), last: BigInt(at + length) };
        for (const part of model.missing(wanted)) p.put(part, { ...fresh, misses }, 0);
        model.add(wanted);
        const taken = one(p, 0)!;
        p.put(range(taken.first, taken.first), { ...taken, misses: 1 }, 0);
        if (taken.last > taken.first) p.put(range(taken.first + 1n, taken.last), taken, 0);
      }
      const listed = new RangeSet();
      let before = -1n;
      for (const { first, last } of p.entries) {
        assert.ok(first > before, 'in order and disjoint');
        before = last;
        listed.add({ first, last });
      }
      assert.deepEqual(listed.list(), model.list());
    }),
  );
});
