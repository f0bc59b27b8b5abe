import assert from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import { Closes, type CloseFollower } from '../../../../../src/core/feature/series/closes.ts';
import { StateIn, StateOut } from '../../../../../src/core/feature/series/state.ts';

type Told = [close: number, before: number | null];

/** Each cell alone. */
class Recorder implements CloseFollower {
  readonly told: Told[] = [];

  closed(close: number, before: number | null): void {
    this.told.push([close, before]);
  }

  stoodStill(close: number, cells: number): void {
    for (let cell = 0; cell < cells; cell += 1) this.told.push([close, close]);
  }
}

function started(gridMs = 1): { closes: Closes; told: Told[] } {
  const recorder = new Recorder();
  return { closes: new Closes(gridMs, [recorder]), told: recorder.told };
}

function add(closes: Closes, tsUs: number, price: number): void {
  closes.advance(tsUs);
  closes.add(tsUs, price);
}

void test('a cell closes at its end and not before, with its last price', (t) => {
  const { closes, told } = started();
  closes.advance(7_000);
  add(closes, 10_000, 1);
  add(closes, 10_999, 2);
  closes.advance(10_999);
  t.same(told, []);
  closes.advance(11_000);
  closes.advance(11_999);
  t.same(told, [[2, null]]);
  add(closes, 12_000, 3);
  t.same(told, [
    [2, null],
    [2, 2],
  ]);
  closes.advance(13_000);
  t.same(told.slice(2), [[3, 2]]);
  t.end();
});

void test('a gap of years is one step', (t) => {
  const calls: unknown[] = [];
  const closes = new Closes(100, [
    {
      closed: (...args) => void calls.push(['closed', ...args]),
      stoodStill: (...args) => void calls.push(['stoodStill', ...args]),
    },
  ]);
  const yearUs = 31_536_000_000_000;
  add(closes, 50 * yearUs, 5);
  add(closes, 55 * yearUs, 6);
  t.same(calls, [
    ['closed', 5, null],
    ['stoodStill', 5, (5 * yearUs) / 100_000 - 1],
  ]);
  t.end();
});

void test('what is told depends neither on the steps of time nor on a restart', (t) => {
  const draws = fc.array(
    fc.tuple(fc.integer({ min: 0, max: 5_000 }), fc.integer({ min: 1, max: 9 }), fc.boolean()),
  );
  fc.assert(
    fc.property(draws, (each) => {
      const one = started();
      const recorder = new Recorder();
      let other = new Closes(1, [recorder]);
      let tsUs = 1_234_567;
      for (const [wait, price, isRestarted] of each) {
        for (let step = 0; step < wait; step += 700) other.advance(tsUs + step);
        if (isRestarted) {
          const out = new StateOut();
          other.save(out);
          other = new Closes(1, [recorder]);
          other.load(new StateIn(out.bytes()));
        }
        tsUs += wait;
        add(one.closes, tsUs, price);
        add(other, tsUs, price);
      }
      assert.deepEqual(recorder.told, one.told);
    }),
  );
  t.end();
});
