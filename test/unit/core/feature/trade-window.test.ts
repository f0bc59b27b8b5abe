import { test } from 'tap';
import { TickRing } from '../../../../src/core/feature/series/tick-ring.ts';
import { TradeWindow } from '../../../../src/core/feature/trade-window.ts';

type Trade = [tsUs: number, price: number, size: number | null, side?: 1 | -1];

function started(...trades: Trade[]): { ring: TickRing; window: TradeWindow } {
  const ring = new TickRing();
  for (const [tsUs, price, size, side] of trades)
    ring.push({ tsUs, seq: 0n, price, size, bid: null, ask: null, side: side ?? null });
  return { ring, window: new TradeWindow(1, ring) };
}

function at(one: { window: TradeWindow }, atUs: number): [vwap: number, imbalance: number] {
  one.window.advance(atUs);
  return [one.window.vwap(), one.window.imbalance()];
}

void test('a tick is in the window from its µs on, and no longer at t + h', (t) => {
  const one = started([0, 10, 1, 1], [1, 20, 3, -1]);
  t.same(at(one, 1), [17.5, -0.5]);
  t.same(at(one, 999), [17.5, -0.5]);
  t.same(at(one, 1000), [20, -1]);
  t.same(at(one, 1001), [NaN, NaN]);
  t.equal(one.window.from, 2);
  t.end();
});

void test('sizes that are null or 0 count nothing, sides that are unknown only for the vwap', (t) => {
  t.same(at(started([0, 10, null, 1], [0, 20, 0, -1]), 0), [NaN, NaN]);
  t.same(at(started([0, 10, 1], [0, 20, 3]), 0), [17.5, NaN]);
  t.same(at(started([0, 10, 1], [0, 20, 3, 1]), 0), [17.5, 1]);
  t.end();
});

void test('prices at and below zero have a vwap', (t) => {
  t.equal(at(started([0, 0, 1]), 0)[0], 0);
  t.equal(at(started([0, -3, 1], [0, 1, 1]), 0)[0], -1);
  t.end();
});

void test('what was large leaves nothing behind when it leaves', (t) => {
  const one = started([0, 1e8, 1e9], [1, 1e-8, 1e-8], [2, 3e-8, 1e-8]);
  t.equal(at(one, 1000)[0], 2e-8);
  t.end();
});

void test('while a product or a sum is beyond the range there is no finite vwap, and after it there is, a restart between or not', (t) => {
  for (const isRestarted of [false, true]) {
    const one = started(
      [0, 1e200, 1e200, 1],
      [1, 2, 5, 1],
      [2, -1e308, 1.5, -1],
      [2, -1e308, 1.5, -1],
      [3, 4, 5, 1],
    );
    const values = [2, 1000, 1001, 1002].map((atUs) => {
      const [vwap] = at(one, atUs);
      if (isRestarted) one.window.restart();
      return Number.isFinite(vwap) ? vwap : null;
    });
    t.same(values, [null, null, null, 4]);
  }
  const large = started([0, 1, 1.7e308, 1], [1, 1, 1.7e308, -1], [2, 7, 1, 1]);
  t.same(at(large, 2), [NaN, 0]);
  t.same(at(large, 1000), [1, -1]);
  t.same(at(large, 1001), [7, 1]);
  t.end();
});

void test('the oldest tick may have to leave early', (t) => {
  const one = started([0, 10, 1, 1], [0, 20, 1, -1]);
  at(one, 0);
  one.window.drop();
  t.same([one.window.vwap(), one.window.imbalance(), one.window.from], [20, -1, 1]);
  t.end();
});
