import { test } from 'tap';
import { SymbolWindows, type Watermark } from '../../../../src/core/window/symbol-windows.ts';
import { barEventOf, tickOf } from './market-events.ts';

const BASE_US = 1_767_225_600_000_000;
const PLACE = { ordinal: 0, after: null };

/** Windows of 2 s, and how ms of the day become verdicts. */
function begin(allowLateMs: number, known: Watermark | null = null, windowMs = 2_000) {
  const windows = new SymbolWindows({ windowMs, allowLateMs }, known);
  let seq = 0;
  const tick = (ms: number, isOld = false): string => {
    seq += 1;
    const srcUs = BASE_US + ms * 1000;
    const event = tickOf({ provider: 'p', symbol: 'A', srcUs, seq, price: 1, size: 1, run: 0 });
    return windows.addTick(event, PLACE, srcUs, isOld);
  };
  const bar = (ms: number, interval: string, isOld = false): string => {
    const event = barEventOf(BASE_US + ms * 1000, interval);
    return windows.addBar(event, PLACE, 0, isOld);
  };
  /** closed windows since the last call: start in ms, ticks */
  const taken = (): [number, number][] =>
    windows.take().windows.map(({ startUs, bar }) => [(startUs - BASE_US) / 1000, bar.tickCount]);
  const closedMs = (): number => (windows.watermark.closedEndUs - BASE_US) / 1000;
  return { windows, tick, bar, taken, closedMs };
}

void test('a window closes with the event whose watermark is its end, not one µs earlier', (t) => {
  const { tick, taken, closedMs } = begin(500);
  t.equal(tick(100), 'counted');
  t.equal(tick(1_999.999), 'counted');
  t.equal(tick(2_499.999), 'counted');
  t.strictSame(taken(), []);
  t.equal(tick(2_500), 'counted');
  t.equal(closedMs(), 2_000);
  t.strictSame(taken(), [[0, 2]]);
  t.equal(tick(1_999.999), 'late');
  t.equal(tick(2_000), 'counted');
  t.end();
});

void test('the first event closes what its watermark is past', (t) => {
  const { tick, closedMs, windows, taken } = begin(3_000);
  t.equal(windows.watermark.closedEndUs, -Infinity);
  t.equal(tick(5_100), 'counted');
  t.equal(closedMs(), 2_000);
  t.equal(tick(2_000), 'counted', 'as far back as events may come late');
  t.equal(tick(1_999.999), 'late');
  t.strictSame(taken(), []);
  t.end();
});

void test('without lateness a window closes with the first event behind it', (t) => {
  const { tick, taken } = begin(0);
  tick(1_000);
  t.equal(tick(500), 'counted', 'its window is open');
  t.equal(tick(2_000), 'counted');
  t.strictSame(taken(), [[0, 2]]);
  t.equal(tick(1_000), 'late');
  t.end();
});

void test('with a lateness of several windows they close in their order, however events came', (t) => {
  const { tick, taken, windows } = begin(10_000);
  for (const ms of [9_000, 1_000, 5_000, 3_000, 7_000, 1_500]) t.equal(tick(ms), 'counted');
  t.strictSame(
    windows.open.map(({ startUs }) => (startUs - BASE_US) / 1000),
    [0, 2_000, 4_000, 6_000, 8_000],
  );
  tick(16_100);
  t.strictSame(taken(), [
    [0, 2],
    [2_000, 1],
    [4_000, 1],
  ]);
  windows.closeAll();
  t.strictSame(taken(), [
    [6_000, 1],
    [8_000, 1],
    [16_000, 1],
  ]);
  t.end();
});

void test('idle closing leaves the watermark; what comes behind it is late and moves it', (t) => {
  const { tick, taken, windows, closedMs } = begin(1_000);
  tick(2_500);
  windows.closeAll();
  t.strictSame(taken(), [[2_000, 1]]);
  t.equal(closedMs(), 4_000);
  t.equal(windows.watermarkUs, BASE_US + 1_500_000);
  t.equal(tick(3_900), 'late');
  t.equal(windows.watermarkUs, BASE_US + 2_900_000);
  t.ok(windows.isChanged);
  t.equal(tick(3_000), 'late');
  t.equal(windows.watermarkUs, BASE_US + 2_900_000, 'an older one does not');
  t.equal(tick(4_000), 'counted');
  windows.closeAll();
  windows.closeAll();
  t.equal(closedMs(), 6_000);
  t.end();
});

void test('what is taken is taken once, with the end up to which everything was closed', (t) => {
  const { tick, taken, windows } = begin(0);
  tick(0);
  tick(2_000);
  t.equal(windows.takenEndUs, -Infinity);
  t.ok(windows.closedCount > 0);
  t.ok(windows.isChanged);
  t.strictSame(taken(), [[0, 1]]);
  t.equal(windows.takenEndUs, BASE_US + 2_000_000);
  t.equal(windows.closedCount, 0);
  t.notOk(windows.isChanged);
  t.strictSame(taken(), []);
  t.end();
});

void test('a bar that no window can hold, and one that lies in two', (t) => {
  const { bar, windows } = begin(0);
  t.equal(bar(0, '5s'), 'too_long');
  t.equal(bar(0, '2001ms'), 'too_long');
  t.equal(bar(1_500, '1s'), 'straddles');
  t.equal(bar(1, '2s'), 'straddles');
  t.equal(windows.open.length, 0);
  t.equal(windows.watermark.maxUs, -Infinity);
  t.equal(bar(0, '2s'), 'counted');
  t.equal(bar(1_500, '500ms'), 'counted');
  t.equal(bar(1_500, '500ms'), 'repeat');
  t.equal(bar(2_000, '2s'), 'counted');
  t.equal(bar(1_000, '1s'), 'late');
  t.strictSame(windows.skipped, { ticks_seen: 0, overlaps: 1 });
  t.end();
});

void test('after a restart entries from before it rebuild what was open, and nothing else', (t) => {
  const known = { maxUs: BASE_US + 5_000_000, closedEndUs: BASE_US + 4_000_000 };
  const { tick, bar, taken, windows } = begin(1_000, known);
  t.equal(tick(3_999, true), 'done');
  t.equal(bar(2_000, '1s', true), 'done');
  t.equal(tick(4_000, true), 'counted');
  t.equal(tick(5_000, true), 'counted');
  t.notOk(windows.isChanged, 'all of it is written down');
  t.equal(tick(3_999), 'late', 'this one is new');
  t.equal(tick(7_000), 'counted');
  t.strictSame(taken(), [[4_000, 2]]);
  t.end();
});

void test('a window that began before what is closed is closed as a whole', (t) => {
  const known = { maxUs: BASE_US + 5_000_000, closedEndUs: BASE_US + 4_000_000 };
  const { windows, tick, closedMs } = begin(1_000, known, 5_000);
  t.equal(windows.realign(), BASE_US);
  t.equal(closedMs(), 5_000);
  t.ok(windows.isChanged);
  t.equal(windows.realign(), null);
  t.equal(tick(3_999, true), 'done');
  t.equal(tick(4_500, true), 'late', 'it was open');
  t.equal(tick(5_000, true), 'counted');
  const aligned = begin(1_000, known);
  t.equal(aligned.windows.realign(), null);
  t.notOk(aligned.windows.isChanged);
  t.equal(begin(1_000).windows.realign(), null);
  t.end();
});

void test('all that may have been open is closed up to the newest event', (t) => {
  const known = { maxUs: BASE_US + 7_000_000, closedEndUs: BASE_US + 2_000_000 };
  const { windows, closedMs } = begin(5_000, known);
  t.strictSame(
    windows.closeSeen().map((us) => (us - BASE_US) / 1000),
    [2_000, 4_000, 6_000],
  );
  t.equal(closedMs(), 8_000);
  t.strictSame(windows.closeSeen(), []);
  t.strictSame(begin(0).windows.closeSeen(), []);
  t.end();
});
