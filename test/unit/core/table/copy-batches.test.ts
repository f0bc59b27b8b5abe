import { test } from 'tap';
import type { Column } from '../../../../src/core/table/column.ts';
import { CopyBatches } from '../../../../src/core/table/copy-batches.ts';
import { COPY_END, COPY_HEADER, copyRow } from '../../../support/table/copy-rows.ts';

const COLUMNS: Column[] = [
  { name: 'n', type: 'int64' },
  { name: 'word', type: 'text', repeats: true },
  { name: 'kind', type: 'text', constant: 'k' },
];

void test('rows come out as they went in, and the builder begins anew after each batch', (t) => {
  const copy = new CopyBatches(COLUMNS);
  copy.add(
    Buffer.concat([COPY_HEADER, copyRow(COLUMNS, [1n, 'a', null]), copyRow(COLUMNS, [null, 'b', null])]),
  );
  const first = copy.take();
  t.strictSame(
    [first.row(0), first.row(1)],
    [
      { n: 1n, word: 'a', kind: 'k' },
      { n: null, word: 'b', kind: 'k' },
    ],
  );
  copy.add(Buffer.concat([copyRow(COLUMNS, [3n, null, null]), copyRow(COLUMNS, [4n, 'a', null]), COPY_END]));
  t.ok(copy.hasEnded);
  const second = copy.take();
  t.strictSame(second.row(0), { n: 3n, word: null, kind: 'k' });
  t.strictSame(second.last(), { n: 4n, word: 'a', kind: 'k' });
  // what was taken before is not touched
  t.strictSame(first.row(0), { n: 1n, word: 'a', kind: 'k' });
  t.equal(first.indexOf('word'), 1);
  t.throws(() => first.indexOf('other'), RangeError);
  t.end();
});

void test('rows beyond the limit are left out and noted', (t) => {
  const rows = [1n, 2n, 3n].map((n) => copyRow(COLUMNS, [n, 'a', null]));
  const bytes = Buffer.concat([COPY_HEADER, ...rows, COPY_END]);
  const two = new CopyBatches(COLUMNS);
  two.add(bytes, 2);
  t.ok(two.hasMore);
  t.equal(two.take().rows, 2);
  const three = new CopyBatches(COLUMNS);
  three.add(bytes, 3);
  t.notOk(three.hasMore);
  t.equal(three.take().rows, 3);
  t.end();
});

void test('many rows with nulls here and there keep each its own', (t) => {
  const copy = new CopyBatches(COLUMNS);
  copy.add(COPY_HEADER);
  const count = 5000;
  for (let n = 0; n < count; n += 1)
    copy.add(
      copyRow(COLUMNS, [
        n % 7 === 0 ? null : BigInt(n) << 32n,
        n > 4000 && n % 3 === 0 ? null : `w${n % 90}`,
        null,
      ]),
    );
  const batch = copy.take();
  t.equal(batch.data[0].nulls, Math.ceil(count / 7));
  for (let n = 0; n < count; n += 1) {
    const expected = [n % 7 === 0 ? null : BigInt(n) << 32n, n > 4000 && n % 3 === 0 ? null : `w${n % 90}`];
    if (batch.value(0, n) !== expected[0] || batch.value(1, n) !== expected[1]) t.fail(`row ${n}`);
  }
  t.end();
});

void test('bytes that are no such rows are refused', (t) => {
  const refuse = (bytes: Buffer): void => {
    t.throws(() => new CopyBatches(COLUMNS).add(bytes), RangeError);
  };
  refuse(Buffer.from('not a copy at all, whatever it is'));
  refuse(COPY_HEADER.subarray(0, 10));
  const row = copyRow(COLUMNS, [1n, 'a', null]);
  refuse(Buffer.concat([COPY_HEADER, row.subarray(0, row.length - 1)]));
  refuse(Buffer.concat([COPY_HEADER, row.subarray(0, 5)]));
  refuse(Buffer.concat([COPY_HEADER, copyRow(COLUMNS.slice(0, 1), [1n])]));
  refuse(Buffer.concat([COPY_HEADER, copyRow([{ name: 'n', type: 'int16' }, COLUMNS[1]], [1, 'a'])]));
  const time: Column = { name: 'ts', type: 'timestamp' };
  for (const infinity of ['7fffffffffffffff', '8000000000000000'])
    t.throws(
      () =>
        new CopyBatches([time]).add(
          Buffer.from(`${COPY_HEADER.toString('hex')}000100000008${infinity}`, 'hex'),
        ),
      RangeError,
    );
  t.end();
});
