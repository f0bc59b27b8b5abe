import assert from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import type { Bar } from '../../../../src/core/market/bar.ts';
import { BarBuilder } from '../../../../src/core/window/bar-builder.ts';
import { exactSum, nearest } from './exact-oracle.ts';
import { price, size } from './market-events.ts';

interface Tick {
  us: number;
  seq: bigint;
  price: number;
  size: number | null;
}

const tick: fc.Arbitrary<Tick> = fc.record({
  us: fc.integer({ min: 0, max: 12 }),
  seq: fc.oneof(fc.bigInt({ min: 0n, max: 3n }), fc.bigInt({ min: 0n, max: 2n ** 63n - 1n })),
  price,
  size,
});
const ticks = fc.uniqueArray(tick, {
  selector: ({ us, seq }) => `${us}|${seq}`,
  minLength: 1,
  maxLength: 40,
  size: 'max',
});

function built(ticks: readonly Tick[]): Bar | null {
  const builder = new BarBuilder();
  for (const { us, seq, price, size } of ticks) builder.add(us, seq, price, size);
  return builder.bar();
}

function sorted(ticks: readonly Tick[]): Tick[] {
  return ticks.toSorted((a, b) => a.us - b.us || (a.seq < b.seq ? -1 : 1));
}

void test('a bar is what its ticks say, in any order', (t) => {
  fc.assert(
    fc.property(
      ticks.chain((all) => fc.shuffledSubarray(all, { minLength: all.length })),
      (all) => {
        const inOrder = sorted(all);
        const prices = all.map((each) => each.price);
        const sizes = all.map((each) => each.size ?? 0);
        const products = all.map((each) => each.price * (each.size ?? 0));
        const volume = nearest(exactSum(sizes));
        const bar = built(all);
        assert.ok(bar !== null);
        const { volumeParts, pvParts, ...values } = bar;
        assert.deepStrictEqual(values, {
          open: inOrder[0].price,
          high: Math.max(...prices),
          low: Math.min(...prices),
          close: inOrder.at(-1)?.price,
          volume,
          vwap: volume > 0 ? nearest(exactSum(products)) / volume : null,
          tickCount: all.length,
          firstUs: inOrder[0].us,
          lastUs: inOrder.at(-1)?.us,
        });
        assert.equal(exactSum(volumeParts), exactSum(sizes));
        assert.ok(pvParts !== null);
        assert.equal(exactSum(pvParts), exactSum(products));
      },
    ),
    { numRuns: 1_500 },
  );
  t.end();
});

void test('no tick is no bar', (t) => {
  t.equal(new BarBuilder().bar(), null);
  t.end();
});

const one = (price: number, size: number | null): Tick => ({ us: 1, seq: 0n, price, size });

void test('a size that is not known counts 0, and no volume has no vwap', (t) => {
  for (const size of [null, 0]) {
    t.match(built([one(5, size)]), { volume: 0, vwap: null, volumeParts: [], pvParts: [], tickCount: 1 });
  }
  t.match(built([one(5, null), { ...one(7, 2), us: 2 }]), { open: 5, volume: 2, vwap: 7, tickCount: 2 });
  t.end();
});

void test('prices below zero have a vwap below zero', (t) => {
  t.match(built([one(-37.5, 2), { ...one(-36.5, 2), us: 2 }]), { high: -36.5, low: -37.5, vwap: -37 });
  t.end();
});

void test('a product too small for a double is nothing, and no -0', (t) => {
  const bar = built([one(-1e-200, 1e-200)]);
  t.ok(Object.is(bar?.vwap, 0));
  t.strictSame(bar?.pvParts, []);
  t.end();
});

void test('a product beyond the range of a double leaves volume, and no vwap', (t) => {
  const bar = built([one(1e200, 1e200), { ...one(1, 3), us: 2 }]);
  t.match(bar, { vwap: null, volume: 1e200, high: 1e200, tickCount: 2 });
  t.equal(bar?.pvParts, null);
  t.end();
});

void test('sums beyond the range: no vwap, whichever came first', (t) => {
  const huge = [one(1e308, 1), { ...one(1e308, 1), us: 2 }, { ...one(-1e308, 1), us: 3 }];
  for (const order of [
    [0, 1, 2],
    [2, 1, 0],
    [0, 2, 1],
  ]) {
    t.match(built(order.map((at) => huge[at])), { vwap: nearest(exactSum([1e308])) / 3 });
  }
  t.match(built(huge.slice(0, 2)), { vwap: null, pvParts: null, volume: 2 });
  const volume = built([one(1, 1.7e308), { ...one(1, 1.7e308), us: 2 }]);
  t.match(volume, { volume: Infinity, vwap: null, volumeParts: [Infinity], pvParts: null });
  t.end();
});

void test('the last tick by time and number is known', (t) => {
  const builder = new BarBuilder();
  builder.add(5, 9n, 1, 1);
  builder.add(5, 2n ** 60n, 2, 1);
  builder.add(4, 2n ** 62n, 3, 1);
  t.equal(builder.lastSeq, 2n ** 60n);
  t.equal(builder.count, 3);
  t.end();
});
