import fc from 'fast-check';
import { test } from 'tap';
import { explainMissing } from '../../../../src/core/ingest/missing.ts';
import { RangeSet, type TickRange } from '../../../../src/core/ingest/ranges.ts';

const overlapping = fc
  .array(
    fc
      .tuple(fc.bigInt(0n, 60n), fc.bigInt(0n, 8n))
      .map(([first, length]): TickRange => ({ first, last: first + length })),
  )
  .map((ranges) => new RangeSet(ranges).list());

/** in order, some of them touch each other */
const touching = fc
  .uniqueArray(fc.integer({ min: 0, max: 60 }), { maxLength: 16 })
  .map((numbers) => numbers.sort((a, b) => a - b))
  .map((numbers) =>
    Array.from({ length: Math.floor(numbers.length / 2) }, (_, i) => ({
      first: BigInt(numbers[2 * i]),
      last: BigInt(numbers[2 * i + 1]),
    })),
  );

const lists = fc.oneof(overlapping, touching);

function within(n: bigint, ranges: readonly TickRange[]): boolean {
  return ranges.some(({ first, last }) => first <= n && n <= last);
}

void test('each missing number goes to the first cause that holds it, none is lost or doubled', async () => {
  const causes = ['gap', 'letter', 'beyond'] as const;
  fc.assert(
    fc.property(lists, fc.tuple(lists, lists, lists), (missing, held) => {
      const listed = causes.map((cause, at) => [cause, held[at]] as const);
      const found = new Map<bigint, string>();
      let before = -1n;
      for (const { first, last, cause } of explainMissing<string>(missing, listed, 'rest')) {
        if (first <= before) return false; // in order, and once
        before = last;
        for (let n = first; n <= last; n++) found.set(n, cause);
      }
      for (let n = 0n; n <= 70n; n++) {
        const cause = listed.find(([, ranges]) => within(n, ranges))?.[0] ?? 'rest';
        if (found.get(n) !== (within(n, missing) ? cause : undefined)) return false;
      }
      return true;
    }),
  );
});

void test('the ends of the numbers are no matter', async (t) => {
  const all = { first: 0n, last: 2n ** 63n - 1n };
  t.strictSame(explainMissing([all], [['gap', [{ first: 5n, last: all.last }]]], 'rest'), [
    { first: 0n, last: 4n, cause: 'rest' },
    { first: 5n, last: all.last, cause: 'gap' },
  ]);
});
