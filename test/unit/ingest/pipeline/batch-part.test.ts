import assert from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import { FRAME_UNNUMBERED, INDEX_WORDS } from '../../../../src/core/copy/transcode.ts';
import { halves, rangeOf, type Part } from '../../../../src/ingest/pipeline/batch-part.ts';

const frames = fc.array(fc.record({ numbered: fc.boolean(), bytes: fc.nat(5000) }), {
  minLength: 1,
  maxLength: 60,
});

function split(part: Part, index: Uint32Array): Part[] {
  return part.frames === 1 ? [part] : halves(part, index).flatMap((half) => split(half, index));
}

void test('halves of halves are the frames one by one, in order, with their numbers; gaps go with the first number', async () => {
  fc.assert(
    fc.property(frames, fc.bigInt(0n, 2n ** 63n - 100n), (list, first) => {
      const index = new Uint32Array(list.length * INDEX_WORDS);
      list.forEach(({ numbered, bytes }, at) =>
        index.set([0, bytes, numbered ? 0 : FRAME_UNNUMBERED], at * INDEX_WORDS),
      );
      const ticks = list.filter(({ numbered }) => numbered).length;
      const bytes = list.reduce((sum, frame) => sum + frame.bytes, 0);
      const gaps = [{ first: 3n, last: 4n }];
      const parts = split(
        { from: 0, frames: list.length, first, ticks, bytes, gaps, isAdmitted: false },
        index,
      );
      assert.equal(parts.length, list.length);
      let number = first;
      parts.forEach((part, at) => {
        const { numbered, bytes: length } = list[at];
        assert.deepEqual(
          { from: part.from, frames: part.frames, first: part.first, ticks: part.ticks, bytes: part.bytes },
          { from: at, frames: 1, first: number, ticks: numbered ? 1 : 0, bytes: length },
        );
        assert.deepEqual(rangeOf(part), numbered ? { first: number, last: number } : null);
        if (numbered) number += 1n;
      });
      // without a number they go with the last part, where the batch's own range would be
      const holder = ticks === 0 ? list.length - 1 : list.findIndex(({ numbered }) => numbered);
      assert.deepEqual(
        parts.map((part) => part.gaps),
        list.map((_, at) => (at === holder ? gaps : [])),
      );
    }),
  );
});
