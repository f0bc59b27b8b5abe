import { test } from 'tap';
import { StateIn, StateOut } from '../../../../src/core/feature/series/state.ts';
import { VwapDeviation } from '../../../../src/core/feature/vwap-deviation.ts';

const DAY_US = 86_400_000_000;
const MIDNIGHT = 20_323 * DAY_US;

type Trade = [tsUs: number, price: number, size: number | null];

function add(deviation: VwapDeviation, [tsUs, price, size]: Trade): void {
  deviation.add({ tsUs, seq: 0n, price, size, bid: null, ask: null, side: null });
}

function after(...trades: Trade[]): VwapDeviation {
  const deviation = new VwapDeviation();
  for (const trade of trades) add(deviation, trade);
  return deviation;
}

void test('the vwap includes this tick and none of the day before, to the µs', (t) => {
  t.same(after().value(), NaN);
  t.equal(after([MIDNIGHT - 2, 100, 1]).value(), 0);
  t.equal(after([MIDNIGHT - 2, 100, 1], [MIDNIGHT - 1, 300, 1]).value(), 5000);
  t.equal(after([MIDNIGHT - 2, 100, 1], [MIDNIGHT, 300, 1]).value(), 0);
  t.same(after([MIDNIGHT - 2, 100, 1], [MIDNIGHT, 300, null]).value(), NaN);
  t.end();
});

void test('a tick without size is measured against those with one', (t) => {
  t.same(after([0, 100, null]).value(), NaN);
  t.same(after([0, 100, 0]).value(), NaN);
  t.equal(after([0, 100, 2], [1, 101, null]).value(), 100);
  t.equal(after([0, 100, 2], [1, 99, 0]).value(), -100);
  t.end();
});

void test('a vwap of zero is none to measure against, and one below zero is', (t) => {
  t.same(after([0, 0, 1]).value(), NaN);
  t.same(after([0, -1, 1], [0, 1, 1]).value(), NaN);
  t.equal(after([0, -100, 1], [0, -101, null]).value(), 100);
  t.end();
});

void test('a state holds the exact sums, also when they are beyond the range for now', (t) => {
  const trades: Trade[] = [
    [0, 1e308, 1],
    [1, 1e308, 1],
    [2, 1e308, 1],
    [3, -1e308, 1],
    [4, -1e308, 1],
    [5, -1e308, 1],
    [6, 0.1, 3],
    [7, 0.2, 1e-17],
  ];
  const whole = after(...trades);
  let saved = after();
  for (const trade of trades) {
    add(saved, trade);
    const out = new StateOut();
    saved.save(out);
    saved = new VwapDeviation();
    saved.load(new StateIn(out.bytes()));
  }
  t.ok(Number.isFinite(whole.value()));
  t.equal(saved.value(), whole.value());
  t.end();
});
