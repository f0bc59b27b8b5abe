import assert from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import { logReturn, LogReturns } from '../../../../../src/core/feature/series/returns.ts';
import { StateIn, StateOut } from '../../../../../src/core/feature/series/state.ts';

function newest(returns: LogReturns, count: number): number[] | null {
  const into = new Float64Array(count);
  return returns.newest(count, into) ? [...into] : null;
}

const bytesOf = (returns: LogReturns): Uint8Array => {
  const out = new StateOut();
  returns.save(out);
  return out.bytes();
};

void test('the newest come in the order of time, as many as are asked for, or none', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 99 }), { maxLength: 30 }),
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 1, max: 9 }),
      (closes, capacity, wanted) => {
        const count = Math.min(wanted, capacity);
        const returns = new LogReturns(capacity);
        for (const [at, close] of closes.entries()) returns.closed(close, at === 0 ? null : closes[at - 1]);
        const all = closes.slice(1).map((close, at) => logReturn(close, closes[at]));
        assert.deepEqual(newest(returns, count), all.length < count ? null : all.slice(-count));
      },
    ),
  );
  t.end();
});

void test('a return has all its digits, also of two prices that differ little, and far apart', (t) => {
  const near = (actual: number, expected: number): void => {
    t.ok(Math.abs(actual / expected - 1) < 1e-15, `${actual} and not ${expected}`);
  };
  // log(1 + x) = x − x²/2 + …
  near(logReturn(100_000_000.01, 100_000_000), (100_000_000.01 - 1e8) / 1e8 - 0.5e-20);
  near(logReturn(1e8, 1e-8), 16 * Math.LN10);
  near(logReturn(1e-8, 1e8), -16 * Math.LN10);
  near(logReturn(1e300, 1e-300), 600 * Math.LN10);
  near(logReturn(2, 1), Math.LN2);
  near(logReturn(1, 2), -Math.LN2);
  t.equal(logReturn(0.1, 0.1), 0);
  t.end();
});

void test('prices at and below zero have none', (t) => {
  for (const [close, before] of [
    [0, 0],
    [-1, -1],
    [-2, -1],
    [1, 0],
    [0, 1],
    [1, -1],
  ])
    t.same(logReturn(close, before), NaN);
  t.end();
});

void test('cells that stood still are the same as each of them alone, bit for bit', (t) => {
  const runs = fc.array(fc.tuple(fc.constantFrom(1, 2, 3, 0, -1), fc.constantFrom(1, 1, 2, 4, 5, 6, 13)), {
    minLength: 1,
  });
  fc.assert(
    fc.property(runs, fc.integer({ min: 1, max: 6 }), (each, capacity) => {
      const [one, other] = [new LogReturns(capacity), new LogReturns(capacity)];
      let before: number | null = null;
      for (const [price, cells] of each) {
        one.closed(price, before);
        other.closed(price, before);
        if (cells > 1) one.stoodStill(price, cells - 1);
        for (let cell = 1; cell < cells; cell += 1) other.closed(price, price);
        before = price;
      }
      assert.deepEqual(bytesOf(one), bytesOf(other));
    }),
  );
  t.end();
});

void test('a state of another length is refused', (t) => {
  t.throws(() => new LogReturns(3).load(new StateIn(bytesOf(new LogReturns(4)))), RangeError);
  t.end();
});
