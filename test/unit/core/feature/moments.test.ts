import assert from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import { ReturnMoments } from '../../../../src/core/feature/moments.ts';
import { LogReturns } from '../../../../src/core/feature/series/returns.ts';
import { deviationOf, kurtosisOf, logReturnOf, skewnessOf } from '../../../support/feature/naive.ts';

function returnsOf(closes: readonly number[], capacity: number): LogReturns {
  const returns = new LogReturns(capacity);
  for (const [at, close] of closes.entries()) returns.closed(close, at === 0 ? null : closes[at - 1]);
  return returns;
}

const three = (moments: ReturnMoments): number[] => [
  moments.deviation(),
  moments.skewness(),
  moments.kurtosis(),
];

void test('they are null until the window is full', (t) => {
  t.same(three(new ReturnMoments(4, returnsOf([1, 2, 3, 5], 9))), [NaN, NaN, NaN]);
  t.ok(three(new ReturnMoments(4, returnsOf([1, 2, 3, 5, 4], 9))).every(Number.isFinite));
  t.end();
});

void test('where all returns are equal the deviation is 0 and there is no shape', (t) => {
  t.same(three(new ReturnMoments(4, returnsOf([3, 3, 3, 3, 3], 4))), [0, NaN, NaN]);
  // each is the logarithm of 2; their mean is another number
  t.same(three(new ReturnMoments(7, returnsOf([1, 2, 4, 8, 16, 32, 64, 128], 7))), [0, NaN, NaN]);
  t.end();
});

void test('a price at or below zero makes them null until it has left the window', (t) => {
  for (const bad of [0, -1]) {
    const returns = returnsOf([1, 2, bad, bad, 3, 4, 5, 7], 4);
    const moments = new ReturnMoments(4, returns);
    t.same(three(moments), [NaN, NaN, NaN]);
    returns.closed(6, 7);
    t.ok(three(moments).every(Number.isFinite), `${bad}`);
  }
  t.end();
});

void test('they are those of the newest returns, as each cell closes, however many are kept', (t) => {
  const price = fc.oneof(
    fc.integer({ min: 9_900, max: 10_100 }).map((cents) => cents / 100),
    fc.integer({ min: -50, max: 50 }).map((cents) => 1e8 + cents / 100),
    fc.constantFrom(1e-8, 1e8, 100),
  );
  fc.assert(
    fc.property(
      fc.array(price, { minLength: 2, maxLength: 60 }),
      fc.integer({ min: 4, max: 12 }),
      fc.integer({ min: 0, max: 9 }),
      (closes, count, more) => {
        const returns = new LogReturns(count + more);
        const moments = new ReturnMoments(count, returns);
        for (let at = 0; at < closes.length; at += 1) {
          returns.closed(closes[at], at === 0 ? null : closes[at - 1]);
          const window = closes.slice(Math.max(0, at - count), at + 1);
          if (window.length <= count) continue;
          const values = window.slice(1).map((close, before) => logReturnOf(close, window[before]));
          const expected = [deviationOf(values), skewnessOf(values), kurtosisOf(values)];
          for (const [of, ours] of three(moments).entries())
            assert.ok(
              Object.is(ours, expected[of]) ||
                Math.abs(ours - expected[of]) <= 1e-9 * Math.max(1, Math.abs(expected[of])),
              `${ours} and not ${expected[of]}`,
            );
        }
      },
    ),
  );
  t.end();
});
