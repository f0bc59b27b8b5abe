import fc from 'fast-check';
import { test } from 'tap';
import type { Column, ColumnType } from '../../../../src/core/table/column.ts';
import { batchOfRows } from '../../../../src/core/table/row-batch.ts';
import { valuesOf } from '../../../support/table/copy-rows.ts';

const TYPES: readonly ColumnType[] = [
  'text',
  'float64',
  'int64',
  'count',
  'uint64',
  'int16',
  'timestamp',
  'decimal',
  'bool',
  'json',
  'hex',
];
const COLUMNS: readonly Column[] = [
  ...TYPES.map((type) => ({ name: type, type })),
  { name: 'word', type: 'text', repeats: true },
  { name: 'kind', type: 'text', constant: 'one' },
];

void test('a batch has the values that its rows had', async (t) => {
  const row = fc.record(
    Object.fromEntries(
      COLUMNS.map(({ name, type, constant }) => [
        name,
        constant === undefined ? fc.option(valuesOf(type)) : fc.constant(constant),
      ]),
    ),
  );
  fc.assert(
    fc.property(fc.array(row, { maxLength: 20 }), (rows) => {
      const batch = batchOfRows(COLUMNS, rows);
      t.equal(batch.rows, rows.length);
      t.strictSame(
        rows.map((_, at) => batch.row(at)),
        rows.map((each) => ({ ...each })),
      );
    }),
  );
});

void test('a member that a row does not have is null', async (t) => {
  t.strictSame(batchOfRows([{ name: 'a', type: 'count' }], [{}]).row(0), { a: null });
  t.equal(batchOfRows(COLUMNS, []).last(), null);
});
