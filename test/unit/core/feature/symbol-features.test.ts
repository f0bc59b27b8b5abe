import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { test } from 'tap';
import { featureSet, type FeatureSet } from '../../../../src/core/feature/catalogue.ts';
import { SymbolFeatures } from '../../../../src/core/feature/symbol-features.ts';
import type { FeatureTick } from '../../../../src/core/feature/tick.ts';
import { START_US, ticksOf } from '../../../support/feature/arbitrary.ts';
import { naiveValues } from '../../../support/feature/naive.ts';

const SECOND_US = 1_000_000;
const windows = [
  { name: 'vwap_5s', horizonMs: 5_000 },
  { name: 'ret_1', horizonMs: 1 },
  { name: 'vol_2m', horizonMs: 120_000 },
  { name: 'skewness_10m', horizonMs: 600_000 },
  { name: 'order_imbalance_500ms', horizonMs: 500 },
];
/** of a coarse grid there are enough cells soon */
const SETS = [1_000, 10_000, 60_000].map((gridMs) =>
  featureSet({ gridMs, windows: gridMs > 40_000 ? windows.slice(0, 2) : windows, priceBin: null }),
);
const set = fc.constantFrom(...SETS);

function same(actual: Float64Array, expected: readonly number[], { names }: FeatureSet): void {
  for (const [at, name] of names.entries()) {
    const [ours, theirs] = [actual[at], expected[at]];
    const isNear = Math.abs(ours - theirs) <= 1e-9 * Math.max(1, Math.abs(theirs));
    assert.ok(isNear || (Number.isNaN(ours) && Number.isNaN(theirs)), `${name} is ${ours} and not ${theirs}`);
  }
}

/** The times of windows of 7 s that end between these ticks: before a tick of that very time. */
function* closesBetween(fromUs: number, untilUs: number): Generator<number> {
  const length = 7 * SECOND_US;
  const first = (Math.floor(fromUs / length) + 1) * length;
  for (let end = first; end <= untilUs && end < first + 2 * length; end += length) yield end;
}

void test('before the first tick there is no value', (t) => {
  for (const each of SETS)
    t.ok(new SymbolFeatures(each).values(START_US).every((value) => Number.isNaN(value)));
  t.end();
});

for (const isWild of [false, true])
  void test(`values are those of the definitions, at ticks and between them${isWild ? ', prices at and below zero' : ''}`, (t) => {
    fc.assert(
      fc.property(set, ticksOf({ isWild }), (set, ticks) => {
        const features = new SymbolFeatures(set);
        for (const [at, tick] of ticks.entries()) {
          const before = ticks.slice(0, at);
          for (const end of closesBetween(before.at(-1)?.tsUs ?? tick.tsUs, tick.tsUs))
            same(features.values(end), naiveValues(set, before, end), set);
          features.add(tick);
          if (ticks[at + 1]?.tsUs === tick.tsUs) continue;
          same(features.values(tick.tsUs), naiveValues(set, ticks.slice(0, at + 1), tick.tsUs), set);
        }
      }),
      { numRuns: 60 },
    );
    t.end();
  });

const saved = (features: SymbolFeatures): string =>
  createHash('sha256').update(features.save()).digest('hex');
const bits = (features: SymbolFeatures, atUs: number): string =>
  Buffer.from(features.values(atUs).slice().buffer).toString('hex');

/** Prices and sizes at the ends of the range of a double, between ordinary ones. */
const huge = fc
  .tuple(ticksOf({ isWild: true }), fc.infiniteStream(fc.constantFrom(1, 1, 1e300, 1e-300, 1.7e308, -1e308)))
  .map(([ticks, factors]) =>
    ticks.map((tick): FeatureTick => {
      const [a, b] = [factors.next().value ?? 1, factors.next().value ?? 1];
      const price = Math.abs(a) > 1 && tick.price !== 0 ? a : tick.price * a;
      return { ...tick, price, size: tick.size === null ? null : Math.min(1.7e308, tick.size * Math.abs(b)) };
    }),
  );
const any = fc.oneof(ticksOf(), ticksOf({ isWild: true }), huge);

void test('a state saved and loaded at any moment goes on bit for bit, also where there are more ticks than are kept', (t) => {
  fc.assert(
    fc.property(set, any, fc.constantFrom(1, 2, 7, undefined), fc.nat(), (set, ticks, ticksMax, moment) => {
      const one = new SymbolFeatures(set, ticksMax);
      let other = new SymbolFeatures(set, ticksMax);
      for (const [at, tick] of ticks.entries()) {
        if (at === moment % ticks.length) {
          const bytes = other.save();
          other = new SymbolFeatures(set, ticksMax);
          other.load(bytes);
          assert.equal(saved(other), saved(one));
          if (at > 0) assert.equal(bits(other, tick.tsUs), bits(one, tick.tsUs));
        }
        one.add(tick);
        other.add(tick);
        assert.equal(bits(other, tick.tsUs), bits(one, tick.tsUs));
      }
      const later = ticks[ticks.length - 1].tsUs + 45 * SECOND_US;
      assert.equal(bits(other, later), bits(one, later));
      assert.equal(saved(other), saved(one));
    }),
    { numRuns: 200 },
  );
  t.end();
});

void test('values asked for more often change nothing', (t) => {
  fc.assert(
    fc.property(
      set,
      any,
      fc.constantFrom(1, 2, 7, undefined),
      fc.func(fc.boolean()),
      (set, ticks, ticksMax, asks) => {
        const silent = new SymbolFeatures(set, ticksMax);
        const asked = new SymbolFeatures(set, ticksMax);
        let lastUs = START_US;
        for (const tick of ticks) {
          for (const end of closesBetween(lastUs, tick.tsUs)) if (asks(end)) asked.values(end);
          if (asks(tick.seq)) asked.values(tick.tsUs);
          silent.add(tick);
          asked.add(tick);
          lastUs = tick.tsUs;
        }
        assert.equal(asked.cut, silent.cut);
        assert.equal(saved(asked), saved(silent));
        assert.equal(bits(asked, lastUs), bits(silent, lastUs));
      },
    ),
    { numRuns: 200 },
  );
  t.end();
});

/** kinds that look back at ticks */
const OF_TICKS: readonly string[] = ['vwap', 'ret', 'order_imbalance'];

void test('of more ticks than are kept the oldest leave the windows early, and nothing else changes', (t) => {
  const ticksMax = 5;
  fc.assert(
    fc.property(set, ticksOf(), (set, ticks) => {
      const features = new SymbolFeatures(set, ticksMax);
      for (const tick of ticks) features.add(tick);
      const atUs = ticks[ticks.length - 1].tsUs;
      const values = features.values(atUs);
      const all = naiveValues(set, ticks, atUs);
      const kept = naiveValues(set, ticks.slice(-ticksMax), atUs);
      same(
        values,
        set.specs.map((spec, at) => (OF_TICKS.includes(spec.kind) ? kept[at] : all[at])),
        set,
      );
    }),
    { numRuns: 100 },
  );
  const features = new SymbolFeatures(SETS[0], ticksMax);
  const tick = { price: 1, size: 1, bid: null, ask: null, side: null };
  for (let at = 0; at < 8; at += 1) features.add({ ...tick, tsUs: START_US + at, seq: BigInt(at) });
  t.equal(features.cut, 3);
  t.equal(features.has(START_US + 2, 2n), null);
  t.equal(features.has(START_US + 3, 3n), true);
  t.equal(features.has(START_US + 3, 4n), null);
  t.equal(features.has(START_US + 4, 5n), false);
  t.end();
});

void test('the price, the time and the quote of the newest tick are told', (t) => {
  const features = new SymbolFeatures(SETS[0]);
  t.same([features.price, features.lastUs], [NaN, -Infinity]);
  features.add({ tsUs: START_US, seq: 1n, price: 5, size: null, bid: 4, ask: 6, side: null });
  features.add({ tsUs: START_US + 1, seq: 0n, price: 7, size: null, bid: null, ask: 6, side: null });
  t.same([features.price, features.lastUs], [7, START_US + 1]);
  t.equal(features.isQuotedAt(START_US), true);
  t.equal(features.isQuotedAt(START_US + 1), false);
  t.end();
});

void test('bytes that are no state are refused', (t) => {
  const features = new SymbolFeatures(SETS[0]);
  features.add({ tsUs: START_US, seq: 1n, price: 5, size: null, bid: 4, ask: 6, side: null });
  const bytes = features.save();
  const load =
    (state: Uint8Array, set = SETS[0], ticksMax?: number) =>
    (): void => {
      new SymbolFeatures(set, ticksMax).load(state);
    };
  t.doesNotThrow(load(bytes));
  t.throws(load(bytes.subarray(0, bytes.length - 8)), RangeError);
  t.throws(load(new Uint8Array([...bytes, 0])), RangeError);
  t.throws(load(new Uint8Array(bytes.length).fill(0x7f)), RangeError);
  t.throws(load(new Uint8Array()), RangeError);
  // of another set of features
  t.throws(load(bytes, featureSet()), RangeError);
  t.end();
});
