import fc from 'fast-check';
import { test } from 'tap';
import { NUMERIC_U64_BYTES_MAX, writeNumericU64 } from '../../../../src/core/copy/types/numeric.ts';
import { CopyRows } from '../../../../src/core/copy/rows-out.ts';
import { hiWord, loWord } from '../../../../src/core/chain/u64.ts';
import { copyOf, int8, numeric, timestamptz } from '../chain/copy-of.ts';

const U64 = fc.bigInt(0n, 2n ** 64n - 1n);

function rowsOf(...rows: (Buffer | null)[][]): CopyRows {
  const reader = new CopyRows(rows[0].length);
  reader.begin(copyOf(rows));
  return reader;
}

void test('rows and their fields, in order and again by their offset', async (t) => {
  const rows = rowsOf(
    [int8(-5n), Buffer.from('text'), null],
    [int8(2n ** 63n - 1n), Buffer.alloc(0), Buffer.from([0, 255])],
  );
  t.equal(rows.next(), true);
  const first = rows.row;
  t.equal(rows.int64(0), -5n);
  t.equal(rows.run(1)?.toString(), 'text');
  t.equal(rows.run(2), null);
  t.equal(rows.isNull(2), true);
  t.equal(rows.next(), true);
  t.equal(rows.int64(0), 2n ** 63n - 1n);
  t.equal(rows.required(1).length, 0);
  t.strictSame(rows.run(2), Buffer.from([0, 255]));
  t.equal(rows.next(), false);
  t.equal(rows.next(), false);
  rows.visit(first);
  t.equal(rows.int64(0), -5n);
});

void test('numeric as u64, as the encoder writes it and as a server does', async () => {
  const view = new DataView(new ArrayBuffer(NUMERIC_U64_BYTES_MAX));
  fc.assert(
    fc.property(
      fc.oneof(
        U64,
        fc.bigInt(0n, 10n ** 9n),
        fc.nat(19).map((n) => 10n ** BigInt(n)),
      ),
      (value) => {
        const end = writeNumericU64(view, 0, hiWord(value), loWord(value));
        for (const bytes of [Buffer.from(view.buffer, 0, end), numeric(value)]) {
          const rows = rowsOf([bytes]);
          rows.next();
          if (rows.u64(0) !== value) return false;
        }
        return true;
      },
    ),
  );
});

void test('a numeric that is no u64 is null', async (t) => {
  const of = (hex: string): bigint | null => {
    const rows = rowsOf([Buffer.from(hex, 'hex')]);
    rows.next();
    return rows.u64(0);
  };
  t.equal(of('00010000000000000001'), 1n);
  t.equal(of('00010000400000000001'), null, '-1');
  t.equal(of('00000000c0000000'), null, 'NaN');
  t.equal(of('00000000d0000000'), null, 'infinity');
  t.equal(of('0001ffff000000040001'), null, '0.0001');
  t.equal(of('00010005000000000001'), null, '10^20');
  const rows = rowsOf([numeric(2n ** 64n), null]);
  rows.next();
  t.equal(rows.u64(0), null);
  t.equal(rows.u64(1), null);
});

void test('timestamptz in µs since 1970', async (t) => {
  const rows = rowsOf([timestamptz(1_755_945_303_178_360n), timestamptz(-1n), null]);
  rows.next();
  t.equal(rows.micros(0), 1_755_945_303_178_360n);
  t.equal(rows.micros(1), -1n);
  t.equal(rows.micros(2), null);
});

function read(bytes: Buffer, fields = 2): void {
  const rows = new CopyRows(fields);
  rows.begin(bytes);
  while (rows.next());
}

void test('bytes that are no binary COPY of such rows throw', async (t) => {
  const whole = copyOf([[int8(1n), Buffer.from('abc')]]);
  t.doesNotThrow(() => read(whole));
  t.throws(() => read(Buffer.from('no COPY, but as long as one')), /no binary COPY/);
  t.throws(() => read(Buffer.alloc(0)), /no binary COPY/);
  t.throws(() => read(whole, 3), /3 fields/);
  for (let cut = 19; cut < whole.length; cut++) t.throws(() => read(whole.subarray(0, cut)), `cut at ${cut}`);
});
