import { test } from 'tap';
import fc from 'fast-check';
import { fairShares, type Holder } from '../../../../src/core/bus/share.ts';

const members = (held: readonly number[]): Holder[] =>
  held.map((count, at) => ({ name: `m${at}`, held: count }));

void test('shares differ by one at most, add up, and cost as few moves as can be', async (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 64 }),
      fc.array(fc.integer({ min: 0, max: 8 }), { minLength: 1, maxLength: 9 }),
      (partitions, held) => {
        const holders = members(held);
        const shares = fairShares(partitions, holders);
        const counts = [...shares.values()];
        if (counts.reduce((sum, count) => sum + count, 0) !== partitions) return false;
        if (Math.max(...counts) - Math.min(...counts) > 1) return false;
        // who holds more never gets less than who holds less
        return holders.every((a) =>
          holders.every((b) => a.held <= b.held || shares.get(a.name)! >= shares.get(b.name)!),
        );
      },
    ),
  );
  t.pass('for all');
});

void test('once everybody has his share nothing moves any more', async (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 64 }), fc.integer({ min: 1, max: 9 }), (partitions, count) => {
      const shares = fairShares(partitions, members(Array.from({ length: count }, () => 0)));
      const settled = [...shares].map(([name, held]) => ({ name, held }));
      const again = fairShares(partitions, settled);
      return settled.every(({ name, held }) => again.get(name) === held);
    }),
  );
  t.pass('for all');
});

void test('a member that joins two who have two of four moves one', async (t) => {
  const holders = [
    { name: 'a', held: 0 },
    { name: 'b', held: 2 },
    { name: 'c', held: 2 },
  ];
  t.same(Object.fromEntries(fairShares(4, holders)), { a: 1, b: 2, c: 1 });
  t.same(
    Object.fromEntries(fairShares(1, members([0, 0, 0]))),
    { m0: 1, m1: 0, m2: 0 },
    'the others stand by',
  );
});
