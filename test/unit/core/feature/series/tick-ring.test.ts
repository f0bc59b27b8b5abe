import assert from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import { StateIn, StateOut } from '../../../../../src/core/feature/series/state.ts';
import { TickRing } from '../../../../../src/core/feature/series/tick-ring.ts';
import type { FeatureTick } from '../../../../../src/core/feature/tick.ts';

const tick = (tsUs: number, seq: bigint): FeatureTick => ({
  tsUs,
  seq,
  price: tsUs / 7,
  size: seq % 3n === 0n ? null : Number(seq),
  bid: null,
  ask: null,
  side: ([null, 1, -1] as const)[Number(seq % 3n)],
});

function loaded(ring: TickRing, ticksMax?: number): TickRing {
  const out = new StateOut();
  ring.save(out);
  const other = new TickRing(ticksMax);
  other.load(new StateIn(out.bytes()));
  return other;
}

void test('it holds what was added and not trimmed, grown and reloaded or not', (t) => {
  const acts = fc.array(fc.oneof(fc.integer({ min: 1, max: 90 }), fc.constantFrom('trim', 'load')), {
    maxLength: 60,
    size: 'max',
  });
  fc.assert(
    fc.property(acts, fc.infiniteStream(fc.nat({ max: 80 })), (acts, draws) => {
      let ring = new TickRing();
      const all: FeatureTick[] = [];
      let first = 0;
      for (const act of acts) {
        if (act === 'trim') {
          first = Math.min(all.length, first + (draws.next().value ?? 0));
          ring.trim(first);
          // an earlier one brings nothing back
          ring.trim(first - 3);
        } else if (act === 'load') ring = loaded(ring);
        else
          for (let at = 0; at < act; at += 1) {
            const one = tick(1e15 + Math.floor(all.length / 3), BigInt(all.length));
            ring.push(one);
            all.push(one);
          }
        assert.deepEqual([ring.first, ring.end], [first, all.length]);
        for (let number = first; number < all.length; number += 1) {
          const { tsUs, price, size, side } = all[number];
          assert.equal(ring.tsUs(number), tsUs);
          assert.equal(ring.price(number), price);
          assert.equal(ring.size(number), size ?? 0);
          assert.equal(ring.side(number), side ?? 0);
        }
      }
    }),
  );
  t.end();
});

void test('a tick is known by time and number, and not whether it ever was before the oldest', (t) => {
  const ring = new TickRing();
  t.equal(ring.has(5, 1n), null);
  for (const [tsUs, seq] of [
    [5, 1n],
    [7, -3n],
    [7, 4n],
    [7, 2n ** 63n - 1n],
    [9, 0n],
  ] as const)
    ring.push(tick(tsUs, seq));
  for (const each of [ring, loaded(ring)]) {
    t.equal(each.has(4, 1n), null);
    t.equal(each.has(5, 1n), true);
    t.equal(each.has(5, 2n), null, 'others of the oldest time may have left');
    t.equal(each.has(6, 1n), false);
    t.equal(each.has(7, -3n), true);
    t.equal(each.has(7, 2n ** 63n - 1n), true);
    t.equal(each.has(7, 0n), false);
    t.equal(each.has(10, 0n), false);
  }
  ring.trim(2);
  t.equal(ring.has(5, 1n), null);
  t.equal(ring.has(7, 4n), true);
  t.end();
});

void test('it is full at its bound, and a state beyond it is refused', (t) => {
  const ring = new TickRing(3);
  for (let at = 0; at < 3; at += 1) {
    t.equal(ring.isFull, false);
    ring.push(tick(at, 0n));
  }
  t.equal(ring.isFull, true);
  t.equal(loaded(ring, 3).isFull, true);
  t.throws(() => loaded(ring, 2), RangeError);
  ring.trim(1);
  t.equal(ring.isFull, false);
  for (const [first, end] of [
    [2, 1],
    [0.5, 1],
    [NaN, NaN],
    [0, 2 ** 60],
  ]) {
    const out = new StateOut();
    out.f64(first);
    out.f64(end);
    t.throws(() => new TickRing().load(new StateIn(out.bytes())), RangeError);
  }
  t.end();
});
