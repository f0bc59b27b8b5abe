import assert from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import { StateIn, StateOut } from '../../../../src/core/feature/series/state.ts';
import { BINS_MAX, niceWidth, VolumeProfile } from '../../../../src/core/feature/volume-profile.ts';
import { decimalFloor } from '../../../support/feature/naive.ts';

const DAY_US = 86_400_000_000;

function add(profile: VolumeProfile, price: number, size: number | null, tsUs = 0): number {
  profile.add({ tsUs, seq: 0n, price, size, bid: null, ask: null, side: null });
  return profile.value();
}

/** of a price of 100 */
const poc = (profile: VolumeProfile): number => 100 / (1 + add(profile, 100, null) / 10_000);

void test('it is the distance from the lower bound of the fullest bin, of equal ones of the lower', (t) => {
  const profile = new VolumeProfile(1);
  t.same(add(profile, 100.5, null), NaN);
  t.same(add(profile, 100.5, 0), NaN);
  t.equal(add(profile, 100.5, 2), 50);
  // a bin of its own with less, with as much, and with more
  t.equal(add(profile, 102, 1), 200);
  t.equal(add(profile, 102, 1), 200);
  t.ok(Math.abs(add(profile, 102.99, 0.5) - (0.99 / 102) * 10_000) < 1e-9);
  t.ok(Math.abs(add(profile, 99, 2.5) - 0) < 1e-9);
  t.end();
});

void test('each UTC day has its own bins and its own width', (t) => {
  const profile = new VolumeProfile(null);
  add(profile, 100, 1000, DAY_US - 1);
  t.same(add(profile, 7, null, DAY_US), NaN);
  add(profile, 7.0006, 1, DAY_US);
  t.ok(Math.abs(profile.value() - (0.0001 / 7.0005) * 10_000) < 1e-6);
  t.end();
});

void test('a price on the bound of a bin is in it, as decimals read it', (t) => {
  const profile = new VolumeProfile(0.01);
  // the quotient of these doubles is 114.99999999999999
  t.ok(Math.abs(add(profile, 1.15, 1)) < 1e-9);
  const decimals = fc.tuple(
    fc.integer({ min: -10_000_000, max: 10_000_000 }),
    fc.integer({ min: 0, max: 8 }),
    fc.constantFrom(1, 2, 5),
    fc.integer({ min: 0, max: 8 }),
  );
  fc.assert(
    fc.property(decimals, ([digits, places, width, widthPlaces]) => {
      const price = Number(`${digits}e-${places}`);
      const bin = Number(`${width}e-${widthPlaces}`);
      const expected = decimalFloor(price, bin) * bin;
      const value = add(new VolumeProfile(bin), price, 1);
      if (expected === 0) assert.equal(value, NaN);
      else assert.equal(value, ((price - expected) / expected) * 10_000);
    }),
  );
  t.end();
});

void test('prices at and below zero have bins, and the point of control 0 no distance', (t) => {
  const profile = new VolumeProfile(1);
  t.same(add(profile, 0.5, 1), NaN);
  t.ok(Math.abs(add(profile, -1.5, 2) - -2500) < 1e-9);
  t.same(add(new VolumeProfile(null), 0, 1), NaN);
  t.end();
});

void test('more bins than are kept become wider ones, and lose no volume', (t) => {
  const profile = new VolumeProfile(1);
  for (let bin = 0; bin < BINS_MAX; bin += 1) add(profile, 1000 + bin, 1);
  t.ok(Math.abs(poc(profile) - 1000) < 1e-9);
  // as one bin of 2 these two have most
  add(profile, 5000, 0.6);
  add(profile, 5001, 0.5);
  t.ok(Math.abs(poc(profile) - 5000) < 1e-9);
  add(profile, 900, 2);
  t.ok(Math.abs(poc(profile) - 5000) < 1e-9);
  add(profile, 900, 1.05);
  t.ok(Math.abs(poc(profile) - 5000) < 1e-9);
  add(profile, 900, 0.06);
  t.ok(Math.abs(poc(profile) - 900) < 1e-9);
  t.end();
});

void test('a first price far below all others costs the bins their width at once, and not a search at each tick', (t) => {
  const profile = new VolumeProfile(null);
  add(profile, 1e-8, 1);
  for (let cent = 0; cent < 3 * BINS_MAX; cent += 1) add(profile, 1e6 + cent / 100, 1);
  const out = new StateOut();
  profile.save(out);
  t.ok(out.bytes().length < 16 * (BINS_MAX + 4));
  t.ok(Number.isFinite(profile.value()));
  t.end();
});

void test('it goes on bit for bit once saved and loaded, while bins become wider, too', (t) => {
  const prices = fc.array(
    fc.tuple(fc.integer({ min: 0, max: 40_000 }), fc.constantFrom(null, 0, 0.1, 0.2, 3)),
    {
      minLength: 10,
      maxLength: 60,
      size: 'max',
    },
  );
  fc.assert(
    fc.property(prices, fc.boolean(), (draws, isFull) => {
      const one = new VolumeProfile(1);
      if (isFull) for (let bin = 0; bin < BINS_MAX - 5; bin += 1) add(one, 2 * bin, 0.1);
      const other = new VolumeProfile(1);
      const out = new StateOut();
      one.save(out);
      other.load(new StateIn(out.bytes()));
      for (const [price, size] of draws) assert.equal(add(other, price, size), add(one, price, size));
    }),
    { numRuns: 20 },
  );
  t.end();
});

void test('bytes that are no bins are refused', (t) => {
  const out = new StateOut();
  for (const value of [0, 1, 100]) out.f64(value);
  out.f64s([1, 2]);
  out.f64s([1]);
  t.throws(() => new VolumeProfile(1).load(new StateIn(out.bytes())), {
    message: '1 volumes are not of 2 bins',
  });
  t.end();
});

void test('the width is the next 1, 2 or 5 of a power of ten at or below a ten-thousandth', (t) => {
  t.same(
    [1, 1.9, 2, 4.99, 5, 9.99, 10, 0.1, 0.3, 1e-12, 9.9999e-8].map(niceWidth),
    [1, 1, 2, 2, 5, 5, 10, 0.1, 0.2, 1e-12, 5e-8],
  );
  t.same([0, -1, NaN, Infinity].map(niceWidth), [1, 1, 1, 1]);
  t.end();
});
