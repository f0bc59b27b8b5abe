import assert from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import { contiguousPrefix, RangeSet } from '../../../../src/core/ingest/ranges.ts';

type Step = { op: 'add' | 'remove'; first: number; length: number };
const step: fc.Arbitrary<Step> = fc.record({
  op: fc.constantFrom('add', 'remove'),
  first: fc.integer({ min: 0, max: 60 }),
  length: fc.integer({ min: 1, max: 12 }),
});
const numbers = (set: RangeSet): number[] =>
  set
    .list()
    .flatMap(({ first, last }) =>
      Array.from({ length: Number(last - first) + 1 }, (_, at) => Number(first) + at),
    );

void test('a range set equals a plain set of numbers after any adds and removes', async () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), fc.integer({ min: 0, max: 70 }), (steps, probe) => {
      const set = new RangeSet();
      const model = new Set<number>();
      for (const { op, first, length } of steps) {
        const range = { first: BigInt(first), last: BigInt(first + length - 1) };
        if (op === 'add') set.add(range);
        else set.remove(range);
        for (let n = first; n < first + length; n += 1) {
          if (op === 'add') model.add(n);
          else model.delete(n);
        }
      }
      const expected = [...model].sort((a, b) => a - b);
      assert.deepEqual(numbers(set), expected);
      assert.equal(set.count(), BigInt(model.size));
      assert.equal(set.has(BigInt(probe)), model.has(probe));
      const wanted = { first: BigInt(probe), last: BigInt(probe + 9) };
      const missing = set
        .missing(wanted)
        .flatMap(({ first, last }) =>
          Array.from({ length: Number(last - first) + 1 }, (_, at) => Number(first) + at),
        );
      assert.deepEqual(
        missing,
        Array.from({ length: 10 }, (_, at) => probe + at).filter((n) => !model.has(n)),
      );
      const held = set
        .within(wanted)
        .flatMap(({ first, last }) =>
          Array.from({ length: Number(last - first) + 1 }, (_, at) => Number(first) + at),
        );
      assert.deepEqual(
        [...held, ...missing].sort((a, b) => a - b),
        Array.from({ length: 10 }, (_, at) => probe + at),
      );
      assert.deepEqual(set.within(wanted, 1), set.within(wanted).slice(0, 1));
      for (const [at, range] of set.list().entries()) {
        const next = set.list()[at + 1];
        if (next !== undefined) assert.ok(next.first > range.last + 1n, 'ranges that touch are one');
      }
    }),
  );
});

void test('the position is the end of the contiguous prefix from the origin', async (t) => {
  const recorded = new RangeSet([
    { first: 5n, last: 9n },
    { first: 12n, last: 20n },
  ]);
  t.equal(contiguousPrefix(5n, recorded), 9n);
  t.equal(contiguousPrefix(4n, recorded), 3n, 'nothing recorded at the origin');
  recorded.add({ first: 10n, last: 11n });
  t.equal(contiguousPrefix(5n, recorded), 20n);
  t.equal(contiguousPrefix(0n, new RangeSet([{ first: 0n, last: 0n }])), 0n, 'tick 0 is a tick');
});

void test('a range that ends before it begins is refused', async (t) => {
  t.throws(() => new RangeSet([{ first: 2n, last: 1n }]), /ends before it begins/);
});
