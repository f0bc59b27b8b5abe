import { test } from 'tap';
import { lostRanges, type Recorded } from '../../../../src/core/ingest/lost.ts';

const range = (first: bigint, last: bigint): { first: bigint; last: bigint } => ({ first, last });
const store: Recorded = {
  origin: 1n,
  position: 50n,
  storedAhead: [range(60n, 69n)],
  openGaps: [range(20n, 29n)],
  unfillable: [range(70n, 70n)],
};

void test('nothing is lost while the store has what we have', async (t) => {
  t.strictSame(
    lostRanges({ recorded: [range(1n, 50n), range(60n, 70n)], openGaps: [range(20n, 29n)] }, store),
    [],
  );
  t.strictSame(
    lostRanges({ recorded: [range(1n, 40n)], openGaps: [range(18n, 29n)] }, store),
    [],
    'a fill that the store has and we have not heard of is no loss',
  );
  t.strictSame(
    lostRanges({ recorded: [range(1n, 19n)], openGaps: [] }, store),
    [],
    'a gap we have not heard of',
  );
});

void test('ranges beyond what it has, and gaps that are open again', async (t) => {
  t.strictSame(lostRanges({ recorded: [range(1n, 75n)], openGaps: [range(24n, 29n)] }, store), [
    range(51n, 59n),
    range(71n, 75n),
    range(20n, 23n),
  ]);
  const empty = { origin: null, position: null, storedAhead: [], openGaps: [], unfillable: [] };
  t.strictSame(lostRanges({ recorded: [range(1n, 5n)], openGaps: [] }, empty), [range(1n, 5n)]);
});
