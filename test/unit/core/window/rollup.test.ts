import fc from 'fast-check';
import assert from 'node:assert/strict';
import { test } from 'tap';
import { mergeBars, type Bar } from '../../../../src/core/market/bar.ts';
import {
  finerOf,
  openRollups,
  Rollups,
  rollupsOf,
  windowEndUs,
  windowStartUs,
  type ClosedWindow,
  type RollupRow,
} from '../../../../src/core/window/rollup.ts';
import { barOfTicks } from './fake-store.ts';
import { tickOf } from './market-events.ts';

const DAY_US = 1_767_225_600_000_000;
const MINUTE_US = 60_000_000;

function closed(startUs: number, price = 1): ClosedWindow {
  const tick = tickOf({ provider: 'p', symbol: 'A', srcUs: startUs, seq: 0, price, size: 1, run: 0 });
  return { startUs, bar: barOfTicks([tick]) as Bar, lastSeq: BigInt(price), oldestIngestUs: 0 };
}

/** Short: length, start from the day's begin in seconds, ticks, whether it is final. */
function short(rows: readonly RollupRow[]): string[] {
  return rows.map(
    ({ intervalMs, startUs, bar, isFinal }) =>
      `${intervalMs / 60_000}m@${(startUs - DAY_US) / 1e6}:${bar.tickCount}${isFinal ? '!' : ''}`,
  );
}

void test('windows are aligned to the epoch and half-open', (t) => {
  for (const ms of [500, 1_500, 2_000, 60_000, 86_400_000]) {
    fc.assert(
      fc.property(fc.integer({ min: 946_684_800_000_000, max: 4_102_444_800_000_000 }), (us) => {
        const startUs = windowStartUs(us, ms);
        assert.equal(startUs % (ms * 1000), 0);
        assert.ok(startUs <= us && us < windowEndUs(startUs, ms));
        assert.equal(windowStartUs(startUs, ms), startUs);
        assert.equal(windowStartUs(windowEndUs(startUs, ms), ms), windowEndUs(startUs, ms));
      }),
      { numRuns: 200 },
    );
  }
  t.end();
});

void test('longer bars are merged from the next finer ones', (t) => {
  t.strictSame(rollupsOf(500), [60_000, 300_000, 3_600_000, 86_400_000]);
  t.strictSame(rollupsOf(30_000), rollupsOf(500));
  t.strictSame(rollupsOf(60_000), [300_000, 3_600_000, 86_400_000]);
  t.equal(finerOf(60_000, 500), 500);
  t.equal(finerOf(300_000, 500), 60_000);
  t.equal(finerOf(300_000, 60_000), 60_000);
  t.equal(finerOf(86_400_000, 2_000), 3_600_000);
  t.end();
});

void test('rollups that may be open are those that hold the last closed window and end later', (t) => {
  t.strictSame(openRollups(DAY_US, 2_000), [], 'all of them end with the day');
  t.strictSame(
    openRollups(DAY_US + MINUTE_US, 2_000).map(({ intervalMs, startUs }) => [intervalMs, startUs]),
    [300_000, 3_600_000, 86_400_000].map((ms) => [ms, DAY_US]),
  );
  t.equal(openRollups(DAY_US + 2_000_000, 2_000).length, 4);
  t.equal(openRollups(DAY_US + MINUTE_US, 60_000).length, 3);
  t.end();
});

void test('a rollup is written while it grows, and is final once all its windows are closed', (t) => {
  const rollups = new Rollups(30_000);
  rollups.add(closed(DAY_US));
  t.strictSame(short(rollups.take()), ['1m@0:1', '5m@0:1', '60m@0:1', '1440m@0:1']);
  t.strictSame(rollups.take(), [], 'nothing changed');
  rollups.add(closed(DAY_US + 30_000_000));
  rollups.close(DAY_US + MINUTE_US);
  t.equal(rollups.finalCount, 1);
  t.strictSame(short(rollups.take()), ['1m@0:2!', '5m@0:2', '60m@0:2', '1440m@0:2']);
  rollups.close(DAY_US + 300_000_000 - 1);
  t.equal(rollups.finalCount, 0);
  rollups.close(DAY_US + 300_000_000);
  t.strictSame(short(rollups.take()), ['5m@0:2!'], 'what did not change is not written again');
  rollups.add(closed(DAY_US + 86_400_000_000));
  t.strictSame(short(rollups.take()), [
    '60m@0:2!',
    '1440m@0:2!',
    ...[1, 5, 60, 1440].map((minutes) => `${minutes}m@86400:1`),
  ]);
  t.end();
});

void test('any windows: rollups are the bars of all that lie in them', (t) => {
  const starts = fc
    .uniqueArray(fc.integer({ min: 0, max: 4_000 }), { maxLength: 60, size: 'max' })
    .map((all) => all.toSorted((a, b) => a - b));
  fc.assert(
    fc.property(starts, fc.func(fc.boolean()), (starts, isTaken) => {
      const rollups = new Rollups(2_000);
      const windows = starts.map((at) => closed(DAY_US + at * 2_000_000, at));
      const written = new Map<string, RollupRow>();
      const take = (): void => {
        for (const row of rollups.take()) {
          const key = `${row.intervalMs}|${row.startUs}`;
          assert.ok(written.get(key)?.isFinal !== true, 'final is final');
          written.set(key, row);
        }
      };
      for (const window of windows) {
        rollups.add(window);
        if (isTaken(window.startUs)) take();
      }
      rollups.close(DAY_US + 2 * 86_400_000_000);
      take();
      for (const { intervalMs, startUs, bar, lastSeq, isFinal } of written.values()) {
        const inside = windows.filter((window) => windowStartUs(window.startUs, intervalMs) === startUs);
        assert.ok(isFinal);
        assert.deepStrictEqual(bar, mergeBars(inside.map((window) => window.bar)));
        assert.equal(lastSeq, inside.at(-1)?.lastSeq);
      }
      const keys = rollupsOf(2_000).flatMap((ms) =>
        windows.map((each) => `${ms}|${windowStartUs(each.startUs, ms)}`),
      );
      assert.deepStrictEqual(new Set(written.keys()), new Set(keys));
    }),
    { numRuns: 200 },
  );
  t.end();
});

const MINUTE = { intervalMs: 60_000, startUs: DAY_US, lastSeq: 5n };
const TWO = mergeBars([closed(DAY_US).bar, closed(DAY_US + 2_000_000).bar]) as Bar;

void test('what is stored takes the place of what is known, with the windows that are not stored', (t) => {
  const rollups = new Rollups(2_000);
  const waiting = [closed(DAY_US + 4_000_000), closed(DAY_US + 6_000_000)];
  for (const window of waiting) rollups.add(window);
  rollups.restore({ ...MINUTE, bar: TWO }, DAY_US + 8_000_000, waiting);
  t.strictSame(short(rollups.take()).slice(0, 1), ['1m@0:4']);
  rollups.add(closed(DAY_US + 8_000_000));
  rollups.close(DAY_US + MINUTE_US);
  t.strictSame(short(rollups.take()).slice(0, 1), ['1m@0:5!']);
  t.end();
});

void test('one that is over and not yet taken is restored too; waiting windows of others stay out of it', (t) => {
  const rollups = new Rollups(2_000);
  const waiting = [closed(DAY_US + 58_000_000), closed(DAY_US + MINUTE_US)];
  for (const window of waiting) rollups.add(window);
  t.equal(rollups.finalCount, 1);
  rollups.restore({ ...MINUTE, bar: TWO }, DAY_US + MINUTE_US + 2_000_000, waiting);
  t.strictSame(short(rollups.take()), ['1m@0:3!', '5m@0:2', '60m@0:2', '1440m@0:2', '1m@60:1']);
  t.end();
});

void test('at a start an open one goes on, a final one and another length are left alone', (t) => {
  const rollups = new Rollups(2_000);
  const closedEndUs = DAY_US + MINUTE_US;
  rollups.restore({ ...MINUTE, bar: TWO }, closedEndUs, []);
  rollups.restore({ ...MINUTE, intervalMs: 120_000, bar: TWO }, closedEndUs, []);
  rollups.restore({ ...MINUTE, intervalMs: 300_000, bar: TWO }, closedEndUs, []);
  t.strictSame(rollups.take(), [], 'it is stored already');
  rollups.add(closed(DAY_US + MINUTE_US));
  t.strictSame(short(rollups.take()), ['1m@60:1', '5m@0:3', '60m@0:1', '1440m@0:1']);
  rollups.restore({ ...MINUTE, bar: TWO }, closedEndUs + 2_000_000, []);
  t.strictSame(rollups.take(), []);
  t.end();
});
