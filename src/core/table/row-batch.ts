import { Batch, type ColumnData, type ColumnValues } from './batch.ts';
import type { Column, Value } from './column.ts';

/** A batch of rows that no database sent: their values by the names of the columns, as Batch.row() gives them. */
export function batchOfRows(
  columns: readonly Column[],
  rows: readonly Readonly<Record<string, Value>>[],
): Batch {
  const data = columns.map((column) =>
    columnOf(
      column,
      rows.map((row) => column.constant ?? row[column.name] ?? null),
    ),
  );
  return new Batch(columns, rows.length, data);
}

function columnOf(column: Column, values: readonly Value[]): ColumnData {
  const nulls = values.filter((value) => value === null).length;
  return { data: valuesOf(column, values), validity: nulls === 0 ? null : validityOf(values), nulls };
}

function validityOf(values: readonly Value[]): Uint8Array {
  const bits = new Uint8Array((values.length + 7) >> 3);
  for (const [row, value] of values.entries()) if (value !== null) bits[row >> 3] |= 1 << (row & 7);
  return bits;
}

function valuesOf({ type, repeats, constant }: Column, values: readonly Value[]): ColumnValues {
  switch (type) {
    case 'float64':
      return { kind: 'float64', values: Float64Array.from(values, Number) };
    case 'int64':
    case 'count':
    case 'timestamp':
      return { kind: 'int64', values: BigInt64Array.from(values, bigintOf) };
    case 'uint64':
      return { kind: 'uint64', values: BigUint64Array.from(values, bigintOf) };
    case 'int16':
      return { kind: 'int16', values: Int16Array.from(values, Number) };
    case 'bool':
      return { kind: 'bool', values: Uint8Array.from(values, Number) };
    case 'text':
    case 'decimal':
    case 'json':
    case 'hex':
      return repeats === true || constant !== undefined ? wordsOf(values) : textsOf(values);
  }
}

function bigintOf(value: Value): bigint {
  return BigInt(value ?? 0);
}

function textOf(value: Value): string {
  return value === null ? '' : String(value);
}

function textsOf(values: readonly Value[]): ColumnValues {
  const texts = values.map((value) => Buffer.from(textOf(value)));
  const offsets = new Int32Array(values.length + 1);
  for (const [row, text] of texts.entries()) offsets[row + 1] = offsets[row] + text.length;
  return { kind: 'text', bytes: Buffer.concat(texts), offsets };
}

function wordsOf(values: readonly Value[]): ColumnValues {
  const words = [...new Set(values.map(textOf))];
  const codes = new Map(words.map((word, code) => [word, code]));
  return {
    kind: 'dictionary',
    codes: Int32Array.from(values, (value) => codes.get(textOf(value)) ?? 0),
    words,
  };
}
