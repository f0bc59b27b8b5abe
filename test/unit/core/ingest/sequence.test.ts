import { test } from 'tap';
import { Sequence } from '../../../../src/core/ingest/sequence.ts';

const begin = (
  expected: bigint | null,
  stored: [bigint, bigint][] = [],
  openGaps: [bigint, bigint][] = [],
): Sequence =>
  new Sequence({
    expected,
    stored: stored.map(([first, last]) => ({ first, last })),
    openGaps: openGaps.map(([first, last]) => ({ first, last })),
  });

void test('the first number received is the origin', async (t) => {
  const sequence = begin(null);
  t.equal(sequence.expected, null);
  t.equal(sequence.place(41n), 'next');
  sequence.tookNext();
  t.equal(sequence.expected, 42n);
});

void test('a number that was taken is repeated, one ahead is held', async (t) => {
  const sequence = begin(10n);
  t.equal(sequence.place(10n), 'next');
  sequence.tookNext();
  t.equal(sequence.place(10n), 'repeated');
  t.equal(sequence.place(12n), 'ahead');
  sequence.buffered(12n);
  t.equal(sequence.place(12n), 'repeated', 'a held number is not held twice');
  t.equal(sequence.place(11n), 'next');
});

void test('giving up declares the hole as a gap and goes on at the lowest held number', async (t) => {
  const sequence = begin(10n);
  sequence.buffered(13n);
  sequence.buffered(15n);
  t.strictSame(sequence.giveUp(), [{ first: 10n, last: 12n }]);
  t.equal(sequence.expected, 13n);
  t.equal(sequence.place(11n), 'late', 'a number of a declared gap fills it');
  sequence.tookLate(11n);
  t.equal(sequence.place(11n), 'repeated', 'and only once');
  t.equal(sequence.place(12n), 'late');
});

void test('ranges that the ledger holds beyond the position are passed over', async (t) => {
  const sequence = begin(10n, [[12n, 14n]]);
  sequence.place(10n);
  sequence.tookNext();
  t.equal(sequence.place(13n), 'resume');
  t.equal(sequence.place(11n), 'next');
  sequence.tookNext();
  t.equal(sequence.expected, 15n);
  t.equal(sequence.place(12n), 'resume');
});

void test('a start inside a stored range begins behind it', async (t) => {
  t.equal(begin(12n, [[12n, 14n]]).expected, 15n);
});

void test('a hole that is already known as a gap or stored is not declared again', async (t) => {
  const sequence = begin(10n, [[13n, 14n]], [[11n, 11n]]);
  sequence.buffered(20n);
  t.strictSame(sequence.giveUp(), [
    { first: 10n, last: 10n },
    { first: 12n, last: 12n },
    { first: 15n, last: 19n },
  ]);
  t.equal(sequence.place(11n), 'late', 'the gap known before is still open');
});

void test('what is held is forgotten when the stream is lost', async (t) => {
  const sequence = begin(10n);
  sequence.buffered(12n);
  sequence.forgetBuffered();
  t.equal(sequence.lowestBuffered, null);
  t.strictSame(sequence.giveUp(), []);
  t.equal(sequence.expected, 10n);
});

void test('a number of a gap that is known from before fills it, also when it lies ahead', async (t) => {
  const sequence = begin(101n, [[111n, 119n]], [[120n, 130n]]);
  t.equal(sequence.place(125n), 'late');
  sequence.tookLate(125n);
  t.equal(sequence.place(125n), 'repeated');
  for (let number = 101n; number <= 110n; number += 1n) {
    t.equal(sequence.place(number), 'next');
    sequence.tookNext();
  }
  t.equal(sequence.expected, 131n, 'what is stored, filled or an open gap is not due');
  t.equal(sequence.place(120n), 'late');
  t.equal(sequence.place(131n), 'next');
});

void test('numbers that were held and forgotten do not count as seen', async (t) => {
  const sequence = begin(10n);
  sequence.buffered(20n);
  t.equal(sequence.highest, 20n);
  sequence.forgetBuffered();
  t.equal(sequence.highest, 9n);
});
