import fc from 'fast-check';
import { test } from 'tap';
import { ChunkMap, type ChunkNumbers, type TimeSpan } from '../../../../src/core/chain/chunk-map.ts';

const DAY = 10n;

/** Of day n, with these numbers. */
function chunk(day: number, first: number, last: number): ChunkNumbers {
  return {
    from: BigInt(day) * DAY,
    to: BigInt(day + 1) * DAY,
    first: BigInt(first),
    last: BigInt(last),
  };
}

function days(spans: readonly TimeSpan[]): (number | null)[][] {
  return spans.map(({ from, to }) => [from, to].map((time) => (time === null ? null : Number(time / DAY))));
}

void test('numbers are looked for in the chunks that hold them, and between their neighbours', (t) => {
  const map = new ChunkMap([chunk(0, 1, 100), chunk(1, 101, 200), chunk(3, 300, 400), chunk(4, 401, 500)]);
  const spansOf = (first: number, last: number): (number | null)[][] =>
    days(map.spans({ first: BigInt(first), last: BigInt(last) }));
  t.strictSame(spansOf(50, 60), [[0, 1]]);
  t.strictSame(spansOf(100, 101), [[0, 2]], 'chunks that touch are one span');
  t.strictSame(spansOf(1, 200), [[0, 2]]);
  t.strictSame(spansOf(250, 260), [[1, 4]], 'a tick that comes late may be of a day that has no chunk yet');
  t.strictSame(spansOf(450, 600), [[3, null]], 'or of a later one');
  t.strictSame(spansOf(0, 0), [[null, 1]]);
  t.equal(map.countIn(map.spans({ first: 150n, last: 250n })), 3);
  t.strictSame(days(new ChunkMap([]).spans({ first: 1n, last: 2n })), [[null, null]], 'nothing is known');
  t.end();
});

void test('a row with a strange time is found where it is', (t) => {
  const map = new ChunkMap([chunk(0, 1, 100), chunk(1, 101, 200), chunk(7, 50, 700), chunk(9, 701, 800)]);
  t.strictSame(days(map.spans({ first: 60n, last: 70n })), [
    [0, 1],
    [7, 8],
  ]);
  const falling = new ChunkMap([chunk(0, 300, 400), chunk(1, 200, 299), chunk(2, 1, 100)]);
  t.strictSame(
    days(falling.spans({ first: 150n, last: 160n })),
    [[null, null]],
    'between is no stretch of time',
  );
  t.end();
});

void test('no stored number is missed, whatever the chunks are', async () => {
  const numbers = fc.uniqueArray(fc.bigInt(0n, 400n), { minLength: 1, maxLength: 12 });
  const stored = fc.array(numbers, { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(stored, fc.bigInt(0n, 400n), fc.bigInt(0n, 50n), (byDay, first, length) => {
      const chunks = byDay.map((held, day) => {
        const rising = held.toSorted((a, b) => (a < b ? -1 : 1));
        return chunk(day, Number(rising[0]), Number(rising.at(-1)));
      });
      const range = { first, last: first + length };
      const spans = new ChunkMap(chunks).spans(range);
      return byDay.every((held, day) => {
        const { from, to } = chunks[day];
        const isRead = spans.some(
          (span) => (span.from === null || span.from <= from) && (span.to === null || span.to >= to),
        );
        return isRead || !held.some((n) => n >= range.first && n <= range.last);
      });
    }),
  );
});
