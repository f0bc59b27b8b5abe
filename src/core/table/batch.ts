import type { Column, Value } from './column.ts';

/** How the values of a column lie in memory: as Arrow has them. At null a value is 0 or empty. */
export type ColumnValues =
  | { readonly kind: 'float64'; readonly values: Float64Array }
  /** int64, count, timestamp */
  | { readonly kind: 'int64'; readonly values: BigInt64Array }
  | { readonly kind: 'uint64'; readonly values: BigUint64Array }
  | { readonly kind: 'int16'; readonly values: Int16Array }
  /** 0 or 1 */
  | { readonly kind: 'bool'; readonly values: Uint8Array }
  /** UTF-8; value i is bytes[offsets[i], offsets[i + 1]) */
  | { readonly kind: 'text'; readonly bytes: Uint8Array; readonly offsets: Int32Array }
  /** value i is words[codes[i]]; the batches of one result share the words, which only grow */
  | { readonly kind: 'dictionary'; readonly codes: Int32Array; readonly words: readonly string[] };

export interface ColumnData {
  readonly data: ColumnValues;
  /** bit i (the lowest first) is 1 where value i is not null; null: none is */
  readonly validity: Uint8Array | null;
  readonly nulls: number;
}

/** Some rows of a result, column by column. */
export class Batch {
  readonly columns: readonly Column[];
  readonly rows: number;
  readonly data: readonly ColumnData[];

  constructor(columns: readonly Column[], rows: number, data: readonly ColumnData[]) {
    this.columns = columns;
    this.rows = rows;
    this.data = data;
  }

  /** @throws RangeError when the result has no such column */
  indexOf(name: string): number {
    const at = this.columns.findIndex((column) => column.name === name);
    if (at < 0) throw new RangeError(`no column ${name}`);
    return at;
  }

  value(column: number, row: number): Value {
    const { data, validity } = this.data[column];
    if (validity !== null && isNullAt(validity, row)) return null;
    switch (data.kind) {
      case 'text':
        return textAt(data, row);
      case 'dictionary':
        return data.words[data.codes[row]];
      case 'bool':
        return data.values[row] === 1;
      case 'float64':
      case 'int16':
        return data.values[row];
      case 'int64':
      case 'uint64':
        return data.values[row];
    }
  }

  /** A row as an object, by the names of the columns. */
  row(row: number): Record<string, Value> {
    return Object.fromEntries(this.columns.map(({ name }, column) => [name, this.value(column, row)]));
  }

  /** The last row as an object; null when there is none. */
  last(): Record<string, Value> | null {
    return this.rows === 0 ? null : this.row(this.rows - 1);
  }
}

export function isNullAt(validity: Uint8Array, row: number): boolean {
  return ((validity[row >> 3] >> (row & 7)) & 1) === 0;
}

const UTF8 = new TextDecoder();

export function textAt({ bytes, offsets }: { bytes: Uint8Array; offsets: Int32Array }, row: number): string {
  return UTF8.decode(bytes.subarray(offsets[row], offsets[row + 1]));
}
