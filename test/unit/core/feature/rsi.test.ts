import assert from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import { Rsi } from '../../../../src/core/feature/rsi.ts';
import { rsiOf } from '../../../support/feature/naive.ts';

function rsiAfter(closes: readonly number[]): Rsi {
  const rsi = new Rsi();
  for (const [at, close] of closes.entries()) rsi.closed(close, at === 0 ? null : closes[at - 1]);
  return rsi;
}

const valueAfter = (closes: readonly number[]): number => rsiAfter(closes).value();

/** closes of which each differs by this from the one before */
function fromChanges(changes: readonly number[], first = 100): number[] {
  const closes = [first];
  for (const change of changes) closes.push(closes[closes.length - 1] + change);
  return closes;
}

void test('it is that of a table computed by hand, from the 14th change on', (t) => {
  const changes = [1, -1, 2, 0, 0, -2, 1, 0, 0, 0, 0, 0, 0, 3];
  t.same(valueAfter(fromChanges(changes.slice(0, 13))), NaN);
  // gains 7/14, losses 3/14
  t.equal(valueAfter(fromChanges(changes)), 70);
  // gains 13·7/14/14, losses (13·3/14 + 4)/14
  t.equal(
    Math.round(valueAfter(fromChanges([...changes, -4])) * 1e9),
    Math.round((100 * 91e9) / (91 + 39 + 56)),
  );
  t.end();
});

const times = (change: number, count = 14): number[] => Array.from({ length: count }, () => change);

void test('without losses it is 100, without gains 0, without moves 50', (t) => {
  t.equal(valueAfter(fromChanges(times(1))), 100);
  t.equal(valueAfter(fromChanges(times(-1))), 0);
  t.equal(valueAfter(fromChanges(times(0))), 50);
  t.equal(valueAfter(fromChanges([1, ...times(0, 500)])), 100);
  t.end();
});

const close = fc.oneof(
  fc.constantFrom(100, 100, 100.01, 99, 1e-8, 2e-8, 1e8, 0, -5, 1.7e308, -1.7e308, 1e-300),
  fc.double({ min: 90, max: 110, noNaN: true }),
);
const runs = fc.array(
  fc.record({ price: close, cells: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 40 })) }),
  { minLength: 1, maxLength: 40 },
);

void test('it is Wilder’s, of any prices', (t) => {
  const ordinary = runs.filter((each) => each.every(({ price }) => Math.abs(price) < 1e300));
  fc.assert(
    fc.property(ordinary, (each) => {
      const closes = each.flatMap(({ price, cells }) => Array.from({ length: cells }, () => price));
      const [ours, expected] = [valueAfter(closes), rsiOf(each)];
      assert.ok(Object.is(ours, expected) || Math.abs(ours - expected) < 1e-9, `${ours} and not ${expected}`);
    }),
  );
  t.end();
});

void test('prices as far apart as two doubles can be spoil it for none that follow', (t) => {
  t.equal(
    valueAfter(fromChanges([], 1.7e308).concat(-1.7e308, ...Array.from({ length: 14 }, () => 1))) > 0,
    true,
  );
  t.end();
});

void test('cells that stood still are the same as each of them alone, bit for bit', (t) => {
  fc.assert(
    fc.property(runs, (each) => {
      const one = new Rsi();
      let before: number | null = null;
      for (const { price, cells } of each) {
        one.closed(price, before);
        if (cells > 1) one.stoodStill(price, cells - 1);
        before = price;
      }
      const closes = each.flatMap(({ price, cells }) => Array.from({ length: cells }, () => price));
      assert.equal(one.value(), valueAfter(closes));
    }),
  );
  t.end();
});

void test('it stays where it is while nothing moves, and is 50 once nothing is left of the moves: never 0 or 100 between', (t) => {
  for (const [up, down] of [
    [2, 1],
    [1, 1000],
    [1e-8, 1e8],
  ]) {
    const rsi = rsiAfter(fromChanges([up, -down, ...Array.from({ length: 12 }, () => 0)]));
    const value = rsi.value();
    let cells = 0;
    for (; Math.abs(rsi.value() - value) < 1e-9 && cells < 20_000; cells += 1) rsi.closed(1, 1);
    t.equal(rsi.value(), 50);
    t.ok(cells > 9_000 && cells < 10_000, `${cells}`);
    const still = rsiAfter(fromChanges([up, -down, ...Array.from({ length: 12 }, () => 0)]));
    still.stoodStill(1, cells - 1);
    t.ok(Math.abs(still.value() - value) < 1e-9);
    still.stoodStill(1, 1e9);
    t.equal(still.value(), 50);
  }
  t.end();
});
