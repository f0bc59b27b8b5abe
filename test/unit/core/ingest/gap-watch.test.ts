import { test } from 'tap';
import { GapWatch } from '../../../../src/core/ingest/gap-watch.ts';

const range = (first: bigint, last: bigint): { first: bigint; last: bigint } => ({ first, last });

void test('a gap is closed once, with its last number', async (t) => {
  const watch = new GapWatch([range(20n, 29n), range(5n, 5n)]);
  watch.add(range(10n, 12n));
  t.strictSame(watch.close(range(20n, 24n), 'filled'), []);
  t.strictSame(watch.close(range(20n, 24n), 'filled'), [], 'told twice it counts once');
  t.strictSame(watch.close(range(1n, 11n), 'filled'), [{ ...range(5n, 5n), filled: 1n, unfillable: 0n }]);
  t.strictSame(watch.close(range(12n, 12n), 'unfillable'), [
    { ...range(10n, 12n), filled: 2n, unfillable: 1n },
  ]);
  t.strictSame(watch.openWithin(range(0n, 100n)), [range(25n, 29n)]);
  t.strictSame(watch.close(range(0n, 100n), 'unfillable'), [
    { ...range(20n, 29n), filled: 5n, unfillable: 5n },
  ]);
  t.strictSame(watch.close(range(0n, 100n), 'filled'), []);
});

void test('gaps that touch stay two', async (t) => {
  const watch = new GapWatch([range(1n, 4n), range(5n, 9n)]);
  t.strictSame(
    watch.close(range(1n, 9n), 'filled').map(({ first, last }) => [first, last]),
    [
      [1n, 4n],
      [5n, 9n],
    ],
  );
});
