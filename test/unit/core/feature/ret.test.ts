import { test } from 'tap';
import { Return } from '../../../../src/core/feature/ret.ts';
import { TickRing } from '../../../../src/core/feature/series/tick-ring.ts';

function started(...ticks: [number, number][]): { ring: TickRing; ret: Return } {
  const ring = new TickRing();
  const ret = new Return(1, ring);
  for (const [tsUs, price] of ticks) {
    ret.advance(tsUs);
    ring.trim(ret.from);
    ring.push({ tsUs, seq: 0n, price, size: null, bid: null, ask: null, side: null });
  }
  return { ring, ret };
}

function valueAt({ ret }: { ret: Return }, atUs: number): number {
  ret.advance(atUs);
  return ret.value(atUs);
}

void test('it needs a price at or before t − h, to the µs', (t) => {
  t.same(valueAt(started(), 0), NaN);
  const one = started([0, 2], [999, 3]);
  t.same(valueAt(one, 999), NaN);
  t.equal(valueAt(one, 1000), 0.5);
  t.equal(valueAt(one, 1998), 0.5);
  // from here on the newest price is its own predecessor
  t.equal(valueAt(one, 1999), 0);
  t.equal(valueAt(one, 1e15), 0);
  t.end();
});

void test('of equal timestamps the last one is the price, on both ends', (t) => {
  t.equal(valueAt(started([0, 1], [0, 2], [1000, 3], [1000, 5]), 1000), 1.5);
  t.end();
});

void test('a price of zero has no return, and one below it has', (t) => {
  t.same(valueAt(started([0, 0], [1000, 5]), 1000), NaN);
  t.equal(valueAt(started([0, 5], [1000, 0]), 1000), -1);
  t.equal(valueAt(started([0, -4], [1000, -5]), 1000), 0.25);
  t.end();
});

void test('ticks that are not needed are given up, but for the one that t − h is after', (t) => {
  const { ring } = started([0, 1], [1, 2], [2, 3], [5000, 4]);
  t.equal(ring.first, 2);
  t.end();
});

void test('once the oldest tick had to go there is none until the next one is old enough', (t) => {
  const one = started([0, 1], [600, 2], [900, 4]);
  one.ret.drop();
  one.ring.trim(1);
  t.same(valueAt(one, 1000), NaN);
  t.equal(valueAt(one, 1600), 1);
  t.end();
});
