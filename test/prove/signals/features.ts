import assert from 'node:assert/strict';
import { featureSet, type FeatureSet } from '../../../src/core/feature/catalogue.ts';
import { SymbolFeatures } from '../../../src/core/feature/symbol-features.ts';
import type { FeatureTick } from '../../../src/core/feature/tick.ts';
import { compareRows, oracleRows, ownRows } from '../../support/feature/feature-oracle.ts';
import { feedOf } from '../../support/feature/market.ts';
import { noOracle } from '../../support/python.ts';
import type { Random } from '../../support/random.ts';
import { Skipped, type Figures } from '../harness.ts';

const WINDOW_MS = 2_000;
const SECOND_US = 1_000_000;

/** The base names, those of configs/streaming.yaml, and windows at the ends of what is allowed. */
const SET = featureSet({
  gridMs: 1_000,
  priceBin: null,
  windows: [
    { name: 'vwap_1m', horizonMs: 60_000 },
    { name: 'ret_30s', horizonMs: 30_000 },
    { name: 'vol_5m', horizonMs: 300_000 },
    { name: 'vwap_1', horizonMs: 1 },
    { name: 'ret_1h', horizonMs: 3_600_000 },
    { name: 'vol_2s', horizonMs: 2_000 },
    { name: 'skewness_1m', horizonMs: 60_000 },
    { name: 'kurtosis_30s', horizonMs: 30_000 },
    { name: 'order_imbalance_5m', horizonMs: 300_000 },
  ],
});

/**
 * Every feature, at each µs of ticks and at each close of 2 s, against pandas, numpy and scipy: to 1e-9 · max(1, |x|), nulls at the
 * same places.
 * @returns the greatest difference of each
 */
export async function equalsTheOracle(random: Random, { ticks }: { ticks: number }): Promise<Figures> {
  const why = noOracle();
  if (why !== false) throw new Skipped(why);
  const feed = feedOf(ticks, random);
  const ours = ownRows(SET, feed, WINDOW_MS);
  const agreements = compareRows(SET, ours, await oracleRows(SET, feed, WINDOW_MS));
  for (const { name, values } of agreements) assert.ok(values > 0, `${name} was never there`);
  const greatest = agreements.map(({ name, greatest, values, nulls }) => [
    name,
    `${greatest.toExponential(1)} of ${values} (${nulls} null)`,
  ]);
  return { rows: ours.length, ...Object.fromEntries(greatest) };
}

/** Seconds of the fresh computation: more than any window, and Wilder's averages keep 10^-386 of what was before. */
const FRESH_SECONDS = 12_000;

/**
 * After very many ticks the values are those of a computation that began a few hours before, at midnight: nothing piles up of
 * what lies behind the windows.
 * @returns the difference of each feature
 */
export function doesNotDrift(random: Random, { ticks }: { ticks: number }): Figures {
  const old = new SymbolFeatures(SET);
  const feed = quickFeed(random);
  for (let at = 0; at < ticks; at += 1) old.add(feed.next());
  const dayUs = 86_400 * SECOND_US;
  const midnight = (Math.floor(old.lastUs / dayUs) + 1) * dayUs;
  const fresh = new SymbolFeatures(SET);
  for (let second = 0; second < FRESH_SECONDS; second += 1) {
    const count = random.whole(1, 5);
    for (let of = 0; of < count; of += 1) {
      const tick = { ...feed.next(), tsUs: midnight + second * SECOND_US + of * 200_000 };
      old.add(tick);
      fresh.add(tick);
    }
  }
  return differences(SET, old.values(old.lastUs), fresh.values(old.lastUs));
}

/** 100 ticks a second, one day in some 9 million, prices around 100 with steps of many sizes. */
function quickFeed(random: Random): { next(): FeatureTick } {
  let tsUs = Date.UTC(2025, 7, 23) * 1000;
  let price = 100;
  let seq = 0n;
  return {
    next: () => {
      tsUs += random.whole(0, 20_000);
      seq += 1n;
      price = Math.max(1e-6, price * (1 + (random.next() - 0.5) * 10 ** -random.whole(2, 8)));
      const size = random.next() * 10 ** random.whole(-6, 6);
      return {
        tsUs,
        seq,
        price,
        size,
        bid: price * 0.999,
        ask: price,
        side: random.pick([1, -1, null] as const),
      };
    },
  };
}

function differences({ names }: FeatureSet, a: Float64Array, b: Float64Array): Figures {
  const figures: Figures = {};
  for (const [at, name] of names.entries()) {
    assert.ok(Number.isFinite(a[at]), `${name} is ${a[at]}`);
    const off = Math.abs(a[at] - b[at]) / Math.max(1, Math.abs(b[at]));
    assert.ok(off <= 1e-9, `${name} is ${a[at]}, begun anew ${b[at]}`);
    figures[name] = off.toExponential(1);
  }
  return figures;
}
