import assert from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import { StateIn, StateOut } from '../../../../src/core/feature/series/state.ts';
import { TickRate } from '../../../../src/core/feature/tick-rate.ts';
import { START_US } from '../../../support/feature/arbitrary.ts';
import { tickRateOf } from '../../../support/feature/naive.ts';

const SECOND_US = 1_000_000;

function add(rate: TickRate, tsUs: number, count = 1): void {
  rate.advance(tsUs);
  for (let at = 0; at < count; at += 1) rate.add(tsUs);
}

function valueAt(rate: TickRate, atUs: number): number {
  rate.advance(atUs);
  return rate.value();
}

void test('it is null until 301 whole seconds are over, the one of the first tick among them', (t) => {
  const rate = new TickRate();
  t.same(valueAt(rate, START_US), NaN);
  add(rate, START_US + 999_999, 3);
  add(rate, START_US + 300 * SECOND_US, 2);
  t.same(valueAt(rate, START_US + 301 * SECOND_US - 1), NaN);
  // of 300 seconds one has 3 ticks: mean 0.01, deviation √(9/299 − 0.03/299)
  const expected = (2 - 0.01) / Math.sqrt((9 - 0.03) / 299);
  t.ok(Math.abs(valueAt(rate, START_US + 301 * SECOND_US) - expected) < 1e-12);
  // it stays until the next second is over
  t.ok(Math.abs(valueAt(rate, START_US + 302 * SECOND_US - 1) - expected) < 1e-12);
  t.not(valueAt(rate, START_US + 302 * SECOND_US), expected);
  t.end();
});

void test('it is null where the 300 seconds are equal, whatever the last one is', (t) => {
  const rate = new TickRate();
  for (let second = 0; second < 300; second += 1) add(rate, START_US + second * SECOND_US, 7);
  add(rate, START_US + 300 * SECOND_US, 99);
  t.same(valueAt(rate, START_US + 301 * SECOND_US), NaN);
  t.ok(Number.isFinite(valueAt(rate, START_US + 302 * SECOND_US)));
  // nothing came for longer than is looked back
  t.same(valueAt(rate, START_US + 603 * SECOND_US), NaN);
  t.same(valueAt(rate, START_US + 1e9 * SECOND_US), NaN);
  t.end();
});

void test('it is that of the ticks of each second, also of very many, and leaves nothing behind', (t) => {
  const waits = fc.oneof(
    { weight: 20, arbitrary: fc.integer({ min: 0, max: 5 * SECOND_US }) },
    { weight: 3, arbitrary: fc.constantFrom(0, 299, 300, 301, 302, 303, 1e7).map((s) => s * SECOND_US) },
  );
  const counts = fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 40 }));
  fc.assert(
    fc.property(fc.array(fc.tuple(waits, counts), { minLength: 1, maxLength: 120, size: 'max' }), (draws) => {
      const rate = new TickRate();
      let tsUs = START_US;
      const known = [];
      for (const [wait, count] of draws) {
        tsUs += wait;
        add(rate, tsUs, count);
        const tick = { tsUs, seq: 0n, price: 1, size: null, bid: null, ask: null, side: null };
        for (let at = 0; at < count; at += 1) known.push(tick);
        const [ours, expected] = [rate.value(), tickRateOf(known, tsUs)];
        const isSame = Object.is(ours, expected) || Math.abs(ours - expected) <= 1e-9 * Math.abs(expected);
        assert.ok(isSame, `${ours} and not ${expected}`);
      }
    }),
    { numRuns: 50 },
  );
  t.end();
});

void test('many seconds at once are the same as each alone', (t) => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 8 }), (gaps) => {
      const [one, other] = [new TickRate(), new TickRate()];
      let second = 0;
      for (const gap of gaps) {
        for (const rate of [one, other]) add(rate, START_US + second * SECOND_US, 1 + (gap % 3));
        for (let at = 1; at <= gap; at += 1) other.advance(START_US + (second + at) * SECOND_US);
        second += gap;
        one.advance(START_US + second * SECOND_US);
        const [a, b] = [new StateOut(), new StateOut()];
        one.save(a);
        other.save(b);
        assert.deepEqual(a.bytes(), b.bytes());
        assert.equal(one.value(), other.value());
      }
    }),
  );
  t.end();
});

void test('a state of another length is refused', (t) => {
  const out = new StateOut();
  for (const value of [0, 0, 0]) out.f64(value);
  out.f64s([1, 2]);
  t.throws(() => new TickRate().load(new StateIn(out.bytes())), {
    message: '2 numbers are stated where there are 301',
  });
  t.end();
});
