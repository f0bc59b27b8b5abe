import assert from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import type { BarEvent, TickEvent } from '../../../../src/core/market/event.ts';
import { intervalName } from '../../../../src/core/market/interval.ts';
import { OpenWindow, lengthUs, type Outcome } from '../../../../src/core/window/open-window.ts';
import { barEventOf, tickOf } from './market-events.ts';

const START_US = 1_767_225_600_000_000;
const PLACE = { ordinal: 0, after: null };

/** A bar of so many ms that begins at ms of the window. */
function barEvent(beginMs: number, ms: number, seq: number, price: number, volume = 10): BarEvent {
  const prices = { open: price, high: price + 2, low: price - 1, close: price + 1 };
  const values = { ...prices, volume, seq: BigInt(seq) };
  return barEventOf(START_US + beginMs * 1000, intervalName(ms), values);
}

function tickAt(us: number, seq: number, price: number, size: number | null = 1): TickEvent {
  return tickOf({ provider: 'p', symbol: 'A', srcUs: START_US + us, seq, price, size, run: 0 });
}

function outcomeOf(events: readonly (TickEvent | BarEvent)[]): Outcome {
  const window = new OpenWindow(START_US, PLACE);
  for (const event of events) {
    if (event.kind === 'tick') window.addTick(event, Number(event.srcTs));
    else window.addBar(event);
  }
  return window.outcome();
}

const anyBar = fc
  .tuple(
    fc.integer({ min: 0, max: 3 }),
    fc.constantFrom(250, 500, 1000, 2000),
    fc.integer({ min: 0, max: 1 }),
  )
  .map(([quarter, ms, seq]) => barEvent(quarter * 250, ms, seq, quarter * 10 + ms + seq));
const anyTick = fc
  .tuple(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 0, max: 2 }))
  .map(([us, seq]) => tickAt(us, seq, us + seq / 10));

void test('what a window comes to depends on the set of its events, not on order and repetition', (t) => {
  const events = fc
    .array(fc.oneof({ weight: 5, arbitrary: anyBar }, { weight: 1, arbitrary: anyTick }), { maxLength: 15 })
    .chain((all) => {
      const twice = [...all, ...all];
      return fc.tuple(fc.constant(all), fc.shuffledSubarray(twice, { minLength: twice.length }));
    });
  fc.assert(
    fc.property(events, ([all, shuffled]) => assert.deepStrictEqual(outcomeOf(shuffled), outcomeOf(all))),
    { numRuns: 1_000 },
  );
  t.end();
});

void test('where there is one tick bars are not counted', (t) => {
  const outcome = outcomeOf([barEvent(0, 1000, 0, 99), tickAt(7, 3, 5, 2), barEvent(1000, 500, 0, 98)]);
  t.match(outcome.bar, { open: 5, high: 5, low: 5, close: 5, volume: 2, vwap: 5, tickCount: 1 });
  t.equal(outcome.lastSeq, 3n);
  t.strictSame(outcome.skipped, { ticks_seen: 2, overlaps: 0 });
  t.end();
});

void test('bars that follow each other make one bar, whose vwap nobody knows', (t) => {
  const outcome = outcomeOf([barEvent(500, 500, 0, 20, 3), barEvent(0, 500, 0, 10, 0.5)]);
  t.strictSame(outcome.bar, {
    open: 10,
    high: 22,
    low: 9,
    close: 21,
    volume: 3.5,
    vwap: null,
    tickCount: 0,
    firstUs: START_US,
    lastUs: START_US + 500_000,
    volumeParts: [3.5],
    pvParts: null,
  });
  t.strictSame(outcome.skipped, { ticks_seen: 0, overlaps: 0 });
  t.end();
});

void test('of bars that overlap the earliest counts, and of those the longest, and of those the first', (t) => {
  const outcome = outcomeOf([
    barEvent(0, 500, 1, 10),
    barEvent(0, 500, 0, 20),
    barEvent(0, 250, 0, 30),
    barEvent(250, 1000, 0, 40),
    barEvent(500, 500, 0, 50),
  ]);
  t.match(outcome.bar, { open: 20, close: 51, volume: 20 });
  t.equal(outcome.skipped.overlaps, 3);
  t.end();
});

void test('an empty window comes to nothing', (t) => {
  t.strictSame(outcomeOf([]), { bar: null, lastSeq: 0n, skipped: { ticks_seen: 0, overlaps: 0 } });
  t.end();
});

void test('the first content of an event stays', (t) => {
  const window = new OpenWindow(START_US, PLACE);
  const tick = tickAt(5, 1, 10);
  const us = Number(tick.srcTs);
  t.equal(window.addTick(tick, us), 'new');
  t.equal(window.addTick(tick, us), 'repeat');
  const others: Partial<TickEvent>[] = [
    { price: 11 },
    { size: null },
    { bid: 1 },
    { ask: 1 },
    { side: 1 },
    { side: -1 },
  ];
  for (const other of others) t.equal(window.addTick({ ...tick, ...other }, us), 'conflict');
  t.equal(window.addTick({ ...tick, ingestTs: 5n }, us), 'repeat', 'when it was taken is not content');
  t.match(window.outcome().bar, { close: 10, tickCount: 1 });
  const bar = barEvent(0, 500, 0, 10);
  t.equal(window.addBar(bar), 'new');
  t.equal(window.addBar(bar), 'repeat');
  for (const name of ['open', 'high', 'low', 'close', 'volume']) {
    t.equal(window.addBar({ ...bar, [name]: 77 }), 'conflict', name);
  }
  t.end();
});

void test('the length of a bar event is that of its interval', (t) => {
  t.equal(lengthUs(barEvent(0, 1500, 0, 1)), 1_500_000);
  t.throws(() => lengthUs({ ...barEvent(0, 500, 0, 1), interval: '5 s' }), /interval/);
  t.end();
});
