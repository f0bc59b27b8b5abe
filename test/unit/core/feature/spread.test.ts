import { test } from 'tap';
import { Spread } from '../../../../src/core/feature/spread.ts';
import { StateIn, StateOut } from '../../../../src/core/feature/series/state.ts';

function after(...quotes: [number | null, number | null][]): Spread {
  const spread = new Spread();
  for (const [at, [bid, ask]] of quotes.entries())
    spread.add({ tsUs: at, seq: 0n, price: 1, size: null, bid, ask, side: null });
  return spread;
}

void test('it is that of the newest tick with both sides', (t) => {
  t.same(after().value(), NaN);
  t.same(after([99, null], [null, 101]).value(), NaN);
  t.equal(after([99, 101]).value(), 200);
  t.equal(after([99, 101], [5, null]).value(), 200);
  t.equal(after([99, 101], [5, null]).tsUs, 0);
  t.equal(after([99, 101], [100, 100]).value(), 0);
  t.end();
});

void test('a crossed quote is below zero, and one around zero has no middle', (t) => {
  t.equal(after([101, 99]).value(), -200);
  t.same(after([-1, 1]).value(), NaN);
  t.same(after([0, 0]).value(), NaN);
  t.same(after([1, 2], [-1, 1]).value(), NaN);
  t.end();
});

void test('small and large prices keep their digits', (t) => {
  t.ok(Math.abs(after([1e-8, 1.0001e-8]).value() - 1 / 1.00005) < 1e-9);
  t.ok(Math.abs(after([1e8, 1e8 + 0.01]).value() - 1e-6) < 1e-12);
  // the sum of both is beyond the range
  t.equal(after([1.5e308, 1.5e308]).value(), 0);
  t.end();
});

void test('it is the same once saved and loaded', (t) => {
  const out = new StateOut();
  after([99, 101]).save(out);
  const spread = new Spread();
  spread.load(new StateIn(out.bytes()));
  t.same([spread.value(), spread.tsUs], [200, 0]);
  t.end();
});
