import assert from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import { BarBuilder } from '../../../../src/core/window/bar-builder.ts';
import { extendWindow, type ReplayWindow } from '../../../../src/core/window/extension.ts';
import { price, size } from './market-events.ts';

interface Tick {
  srcUs: number;
  seq: bigint;
  price: number;
  size: number | null;
}

function windowOf(ticks: readonly Tick[]): ReplayWindow | null {
  const builder = new BarBuilder();
  for (const { srcUs, seq, price, size } of ticks) builder.add(srcUs, seq, price, size);
  const bar = builder.bar();
  return bar === null ? null : { bar, lastSeq: builder.lastSeq };
}

const run = fc
  .uniqueArray(
    fc.record({ srcUs: fc.integer({ min: 0, max: 20 }), seq: fc.bigInt({ min: 0n, max: 3n }), price, size }),
    { selector: ({ srcUs, seq }) => `${srcUs}|${seq}`, minLength: 1, maxLength: 30, size: 'max' },
  )
  .map((ticks) => ticks.toSorted((a, b) => a.srcUs - b.srcUs || (a.seq < b.seq ? -1 : 1)));

void test('a window that a run goes on with, from wherever it began again, holds each tick once', (t) => {
  const cuts = fc.array(fc.record({ upTo: fc.nat(30), back: fc.nat(10) }), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(run, cuts, (ticks, cuts) => {
      let stored: ReplayWindow | null = null;
      let done = 0;
      for (const { upTo, back } of [...cuts, { upTo: 30, back: 3 }]) {
        const from = Math.max(0, done - back);
        const emitted = ticks.slice(from, upTo);
        const isMore = upTo > done && done < ticks.length;
        const next = extendWindow(stored, emitted);
        assert.equal(next === null, !isMore, 'null: nothing new');
        stored = next ?? stored;
        done = Math.max(done, Math.min(upTo, ticks.length));
      }
      assert.deepStrictEqual(stored, windowOf(ticks));
    }),
    { numRuns: 1_000 },
  );
  t.end();
});

void test('ticks of one time are told apart by their number', (t) => {
  const ticks = [0n, 1n, 2n].map((seq) => ({ srcUs: 5, seq, price: Number(seq), size: 1 }));
  t.equal(extendWindow(windowOf(ticks.slice(0, 2)), ticks.slice(0, 2)), null);
  t.match(extendWindow(windowOf(ticks.slice(0, 2)), ticks), { bar: { tickCount: 3, close: 2 }, lastSeq: 2n });
  t.equal(extendWindow(null, []), null);
  t.end();
});
