import fc from 'fast-check';
import type { Column, ColumnType, Value } from '../../../src/core/table/column.ts';
import { CopyBatches } from '../../../src/core/table/copy-batches.ts';
import type { Batch } from '../../../src/core/table/batch.ts';
import { EPOCH_2000_MICROS } from '../../../src/core/copy/fields.ts';

/** What a server sends for `COPY … TO STDOUT (FORMAT binary)`. */
export const COPY_HEADER = Buffer.from('5047434f50590aff0d0a000000000000000000', 'hex');
export const COPY_END = Buffer.from('ffff', 'hex');

/** A row as the server sends it. Constants are not sent. */
export function copyRow(columns: readonly Column[], row: readonly Value[]): Buffer {
  const fields = columns.flatMap((column, at) =>
    column.constant === undefined ? [fieldOf(column.type, row[at])] : [],
  );
  const count = Buffer.alloc(2);
  count.writeInt16BE(fields.length);
  return Buffer.concat([count, ...fields]);
}

/** Rows as batches, `rowsPerBatch` at a time. */
export function* batchesOf(
  columns: readonly Column[],
  rows: readonly (readonly Value[])[],
  rowsPerBatch = Infinity,
): Generator<Batch> {
  const copy = new CopyBatches(columns);
  copy.add(COPY_HEADER);
  for (const row of rows) {
    copy.add(copyRow(columns, row));
    if (copy.rows >= rowsPerBatch) yield copy.take();
  }
  copy.add(COPY_END);
  if (copy.rows > 0) yield copy.take();
}

/** Values of a type, its extremes among them. */
export function valuesOf(type: ColumnType): fc.Arbitrary<Value> {
  switch (type) {
    case 'text':
      return fc.oneof(
        fc.string({ unit: 'binary' }).map((text) => text.replaceAll('\0', '')),
        fc.constantFrom('', '"', ',', '\r\n', 'a"b', 'ß∂é', '🂡', 'null', '\\', '\u0001'),
      );
    case 'float64':
      return fc.double({ noNaN: true, noDefaultInfinity: true });
    case 'count':
      return fc.maxSafeNat().map(BigInt);
    case 'int64':
      return fc.oneof(
        fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n),
        fc.constantFrom(2n ** 53n + 1n, -(2n ** 63n), 2n ** 63n - 1n, 0n, -1n),
      );
    case 'timestamp':
      // the years 1 to 9999
      return fc.oneof(
        fc.bigInt(-62_135_596_800_000_000n, 253_402_300_799_999_999n),
        fc.constantFrom(0n, -1n, 1_735_689_600_000_001n),
      );
    case 'uint64':
      return fc.oneof(fc.bigInt(0n, 2n ** 64n - 1n), fc.constantFrom(2n ** 64n - 1n, 2n ** 63n));
    case 'int16':
      return fc.integer({ min: -32_768, max: 32_767 });
    case 'bool':
      return fc.boolean();
    case 'decimal':
      return fc
        .tuple(fc.boolean(), fc.bigInt(0n, 10n ** 38n), fc.nat(20))
        .map(([isNegative, digits, scale]) => decimalText(isNegative, digits, scale));
    case 'json':
      return fc.json({ noUnicodeString: false }).filter((text) => !text.includes('\0'));
    case 'hex':
      return fc.uint8Array().map((bytes) => Buffer.from(bytes).toString('hex'));
  }
}

function decimalText(isNegative: boolean, digits: bigint, scale: number): string {
  const text = digits.toString().padStart(scale + 1, '0');
  const whole = text.slice(0, text.length - scale);
  return `${isNegative && digits > 0n ? '-' : ''}${whole}${scale === 0 ? '' : `.${text.slice(-scale)}`}`;
}

function fieldOf(type: ColumnType, value: Value): Buffer {
  if (value === null) return Buffer.from('ffffffff', 'hex');
  const bytes = bytesOf(type, value);
  const length = Buffer.alloc(4);
  length.writeInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

function bytesOf(type: ColumnType, value: Exclude<Value, null>): Buffer {
  const bytes = Buffer.alloc(8);
  switch (type) {
    case 'float64':
      bytes.writeDoubleBE(value as number);
      return bytes;
    case 'int64':
    case 'count':
      bytes.writeBigInt64BE(value as bigint);
      return bytes;
    case 'timestamp':
      bytes.writeBigInt64BE((value as bigint) - EPOCH_2000_MICROS);
      return bytes;
    case 'int16':
      bytes.writeInt16BE(value as number);
      return bytes.subarray(0, 2);
    case 'bool':
      return Buffer.from([value === true ? 1 : 0]);
    case 'uint64':
    case 'text':
    case 'decimal':
    case 'json':
    case 'hex':
      return Buffer.from(String(value));
  }
}
