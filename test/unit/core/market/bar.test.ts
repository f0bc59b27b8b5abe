import assert from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import { BarMerger, mergeBars, type Bar } from '../../../../src/core/market/bar.ts';
import { BarBuilder } from '../../../../src/core/window/bar-builder.ts';
import { price, size } from '../window/market-events.ts';

type Tick = [us: number, price: number, size: number | null];

function built(ticks: readonly Tick[]): Bar | null {
  const builder = new BarBuilder();
  for (const [at, [us, price, size]] of ticks.entries()) builder.add(us, BigInt(at), price, size);
  return builder.bar();
}

const ticks = fc
  .array(fc.tuple(fc.integer({ min: 0, max: 1_000 }), price, size), { maxLength: 60, size: 'max' })
  .map((all) => all.toSorted(([a], [b]) => a - b));

/** The ticks of consecutive windows, some of them empty. */
function windowsOf(ticks: readonly Tick[], ends: readonly number[]): Tick[][] {
  const edges = [...ends, Infinity].sort((a, b) => a - b);
  return edges.map((end, at) => ticks.filter(([us]) => us < end && (at === 0 || us >= edges[at - 1])));
}

void test('bars of any consecutive windows merge into the bar of all their ticks, bit for bit', (t) => {
  const ends = fc.array(fc.integer({ min: 0, max: 1_000 }), { maxLength: 12 });
  fc.assert(
    fc.property(ticks, ends, (all, ends) => {
      const bars = windowsOf(all, ends).flatMap((window) => built(window) ?? []);
      assert.deepStrictEqual(mergeBars(bars), built(all));
    }),
    { numRuns: 1_500 },
  );
  t.end();
});

void test('merging in steps comes to the same as merging at once', (t) => {
  const ends = fc.array(fc.integer({ min: 0, max: 1_000 }), { maxLength: 12 });
  fc.assert(
    fc.property(ticks, ends, fc.nat(12), (all, ends, cut) => {
      const bars = windowsOf(all, ends).flatMap((window) => built(window) ?? []);
      const halves = [mergeBars(bars.slice(0, cut)), mergeBars(bars.slice(cut))];
      assert.deepStrictEqual(mergeBars(halves.flatMap((half) => half ?? [])), mergeBars(bars));
    }),
    { numRuns: 500 },
  );
  t.end();
});

void test('a bar that was merged stays what it was when the merger goes on', (t) => {
  const merger = new BarMerger();
  t.equal(merger.bar(), null);
  const first = built([[1, 5, 2]]) as Bar;
  merger.add(first);
  const before = merger.bar();
  merger.add(built([[2, 9, 1]]) as Bar);
  t.strictSame(before, first);
  t.match(merger.bar(), { open: 5, close: 9, high: 9, low: 5, volume: 3, tickCount: 2, vwap: 19 / 3 });
  t.end();
});

void test('what one window does not know of its price × size, the longer one does not know either', (t) => {
  const known = built([[1, 5, 2]]) as Bar;
  const unknown: Bar = { ...known, tickCount: 0, vwap: null, pvParts: null };
  for (const bars of [
    [known, unknown],
    [unknown, known],
  ]) {
    t.match(mergeBars(bars), { volume: 4, vwap: null, pvParts: null, tickCount: 1 });
  }
  t.end();
});

void test('a volume beyond the range of a double stays there', (t) => {
  const huge = built([
    [1, 0.1, 1.7e308],
    [2, 0.1, 1.7e308],
  ]) as Bar;
  t.match(mergeBars([huge, built([[3, 1, 1]]) as Bar]), { volume: Infinity, vwap: null });
  t.equal(mergeBars([]), null);
  t.end();
});
