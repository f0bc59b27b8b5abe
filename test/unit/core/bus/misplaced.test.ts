import { test } from 'tap';
import fc from 'fast-check';
import { forwardTo } from '../../../../src/core/bus/misplaced.ts';
import { partitionOf } from '../../../../src/core/bus/partitions.ts';

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
