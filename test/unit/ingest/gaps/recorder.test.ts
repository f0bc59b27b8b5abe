import { test } from 'tap';
import { GapRecorder } from '../../../../src/ingest/gaps/recorder.ts';
import type { FillReport } from '../../../../src/ingest/gaps/report.ts';

const range = (first: bigint, last: bigint): { first: bigint; last: bigint } => ({ first, last });

interface Desk {
  book: GapRecorder;
  recorded: { report: FillReport; epoch: bigint }[];
  gaveUp: { first: bigint; last: bigint }[];
  lines: string[];
  broken: { is: boolean };
}

function desk(): Desk {
  const recorded: Desk['recorded'] = [];
  const gaveUp: Desk['gaveUp'] = [];
  const lines: string[] = [];
  const broken = { is: false };
  const book = new GapRecorder(
    {
      recordFilling: async (report, epoch) => {
        if (broken.is) throw new Error('no database');
        recorded.push({ report, epoch });
      },
    },
    (given) => gaveUp.push(given),
    {
      log: (_level, message, { first_tick, last_tick }) =>
        lines.push(`${message} ${String(first_tick)}-${String(last_tick)}`),
    },
  );
  return { book, recorded, gaveUp, lines, broken };
}

const GIVEN_UP = 'Gap given up: the sequencer does not have it';

void test('one line for a gap, however many batches fill it', async (t) => {
  const { book, lines } = desk();
  book.began(1, 7n, [range(10n, 19n)]);
  book.committed({ range: range(31n, 40n), gaps: [range(30n, 30n)], fills: false });
  for (const fill of [range(10n, 14n), range(15n, 19n), range(30n, 30n)])
    book.committed({ range: fill, gaps: [], fills: true });
  t.strictSame(lines, ['Gap filled 10-19', 'Gap filled 30-30']);
});

void test('what is given up is recorded under the epoch of its run, then told', async (t) => {
  const { book, lines, recorded, gaveUp } = desk();
  book.began(3, 7n, [range(10n, 19n)]);
  const tried = [{ ...range(10n, 10n), error: 'no', waitMs: 5 }];
  await book.report(3, { tried, unfillable: [range(12n, 13n)] });
  t.strictSame(recorded, [{ report: { tried, unfillable: [range(12n, 13n)] }, epoch: 7n }]);
  t.strictSame(gaveUp, [range(12n, 13n)]);
  book.committed({ range: range(10n, 11n), gaps: [], fills: true });
  book.committed({ range: range(14n, 19n), gaps: [], fills: true });
  book.committed({ range: range(12n, 12n), gaps: [], fills: true });
  t.strictSame(lines, [
    `${GIVEN_UP} 12-13`,
    'Gap filled 10-19',
    'Ticks that were given up came after all 12-12',
  ]);
  await book.report(2, { tried, unfillable: [range(15n, 15n)] });
  await book.report(3, { tried: [], unfillable: [] });
  t.equal(recorded.length, 1, 'reports of another run and empty ones are not written');
});

void test('a gap whose batch is not committed yet is given up once it is; a failed write is repeated', async (t) => {
  const { book, lines, recorded, broken } = desk();
  book.began(1, 7n, []);
  await book.report(1, { tried: [], unfillable: [range(5n, 6n)] });
  t.strictSame(recorded, []);
  book.committed({ range: range(7n, 9n), gaps: [range(4n, 6n)], fills: false });
  broken.is = true;
  await book.retry();
  t.strictSame(lines, []);
  broken.is = false;
  await book.retry();
  t.strictSame(
    recorded.map(({ report }) => report.unfillable),
    [[range(5n, 6n)]],
  );
  t.strictSame(lines, [`${GIVEN_UP} 5-6`]);
  await book.retry();
  t.equal(recorded.length, 1);
});

void test('what came before it could be recorded as given up is not given up', async (t) => {
  const { book, recorded, broken } = desk();
  book.began(1, 7n, [range(5n, 6n)]);
  broken.is = true;
  await book.report(1, { tried: [], unfillable: [range(5n, 6n)] });
  book.committed({ range: range(5n, 5n), gaps: [], fills: true });
  broken.is = false;
  await book.retry();
  t.strictSame(
    recorded.map(({ report }) => report.unfillable),
    [[range(6n, 6n)]],
  );
});
