import assert from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import { Bollinger } from '../../../../src/core/feature/bollinger.ts';
import { bollingerOf } from '../../../support/feature/naive.ts';

function after(closes: readonly number[]): Bollinger {
  const bollinger = new Bollinger();
  for (const close of closes) bollinger.closed(close);
  return bollinger;
}

const times = (price: number, count: number): number[] => Array.from({ length: count }, () => price);

void test('it is null until there are 20 closes, and while they are equal', (t) => {
  t.same(after([...times(1, 18), 2]).value(), NaN);
  t.same(after(times(0.1, 20)).value(), NaN);
  t.same(after(times(0, 21)).value(), NaN);
  // the mean is 1.05 and σ √0.0475
  t.ok(Math.abs(after([...times(1, 19), 2]).value() - 0.95 / (2 * Math.sqrt(0.0475))) < 1e-12);
  t.same(after([2, ...times(1, 20)]).value(), NaN);
  t.end();
});

void test('it is that of the last 20 closes, however large they are against their differences', (t) => {
  const closes = fc
    .tuple(
      fc.constantFrom(0, 1e-8, 1, 1e8, -37.63),
      fc.constantFrom(1e-10, 0.01, 1),
      fc.array(fc.integer({ min: -9, max: 9 }), { minLength: 1, maxLength: 50 }),
    )
    .map(([base, step, steps]) => steps.map((each) => base + each * step));
  fc.assert(
    fc.property(closes, (each) => {
      // differences of two doubles of one binade are exact: of them the definition has all digits
      const last = each[each.length - 1];
      const expected = bollingerOf(each.slice(-20).map((price) => price - last));
      const ours = after(each).value();
      assert.ok(Object.is(ours, expected) || Math.abs(ours - expected) < 1e-9, `${ours} and not ${expected}`);
    }),
  );
  t.end();
});

void test('it is the same at the ends of the range of a double', (t) => {
  const ordinary = Array.from({ length: 20 }, (_, at) => 1 + (at % 7));
  const expected = after(ordinary).value();
  for (const scale of [2 ** 1020, 2 ** 600, 2 ** 400, 2 ** -400, 2 ** -600, 2 ** -1060])
    t.ok(Math.abs(after(ordinary.map((price) => price * scale)).value() - expected) < 1e-12, `${scale}`);
  t.ok(
    Math.abs(after([...times(-1.7e308, 19), 1.7e308]).value() - after([...times(-1, 19), 1]).value()) < 1e-12,
  );
  t.end();
});

void test('cells that stood still are the same as each of them alone, bit for bit', (t) => {
  const runs = fc.array(
    fc.tuple(fc.double({ min: 1, max: 2, noNaN: true }), fc.constantFrom(1, 1, 1, 2, 5, 19, 20, 21, 47)),
    { minLength: 1 },
  );
  fc.assert(
    fc.property(runs, (each) => {
      const one = new Bollinger();
      for (const [price, cells] of each) {
        one.closed(price);
        if (cells > 1) one.stoodStill(price, cells - 1);
      }
      assert.equal(one.value(), after(each.flatMap(([price, cells]) => times(price, cells))).value());
    }),
  );
  t.end();
});
