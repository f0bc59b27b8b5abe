import { test } from 'tap';
import fc from 'fast-check';
import {
  fairShares,
  forwardTo,
  murmur2,
  partitionOf,
  type Holder,
} from '../../../../src/core/bus/partitions.ts';

// the vectors of Kafka's own test of its murmur2
const VECTORS: [string, number][] = [
  ['21', -973932308],
  ['foobar', -790332482],
  ['a-little-bit-long-string', -985981536],
  ['a-little-bit-longer-string', -1486304829],
  ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
  ['abc', 479470107],
];

void test("murmur2 answers what Kafka's own does", (t) => {
  for (const [text, expected] of VECTORS) t.equal(murmur2(Buffer.from(text)), expected, text);
  t.end();
});

void test('every key has one partition in range, and all partitions are used', (t) => {
  const seen = new Set<number>();
  for (let index = 0; index < 1000; index += 1) {
    const partition = partitionOf(`SYM${index}`, 7);
    t.equal(partition, partitionOf(`SYM${index}`, 7));
    seen.add(partition);
  }
  t.strictSame(
    [...seen].sort((a, b) => a - b),
    [0, 1, 2, 3, 4, 5, 6],
  );
  t.equal(partitionOf('SPY', 1), 0);
  t.end();
});

void test('a record is forwarded to the partition of its symbol, once', async (t) => {
  fc.assert(
    fc.property(
      fc.string({ minLength: 1 }),
      fc.integer({ min: 1, max: 64 }),
      fc.nat(63),
      (symbol, partitions, at) => {
        const partition = at % partitions;
        const target = forwardTo({ partition, symbol }, partitions);
        const right = partitionOf(symbol, partitions);
        if (partition === right) return target === null;
        return target === right && forwardTo({ partition: right, symbol }, partitions) === null;
      },
    ),
  );
  t.pass('for all');
});

void test('one without a symbol, and the only partition, stay', async (t) => {
  t.equal(forwardTo({ partition: 2, symbol: null }, 4), null);
  t.equal(forwardTo({ partition: 0, symbol: 'SPY' }, 1), null);
});

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
