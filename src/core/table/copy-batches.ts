import { Batch, type ColumnData } from './batch.ts';
import { columnBuilder, type ColumnBuilder } from './column-builder.ts';
import type { Column } from './column.ts';

/** "PGCOPY\n\xff\r\n\0" */
const SIGNATURE = [0x50, 0x47, 0x43, 0x4f, 0x50, 0x59, 0x0a, 0xff, 0x0d, 0x0a, 0x00];
/** signature, flags, length of the header extension */
const HEADER_BYTES = SIGNATURE.length + 4 + 4;
const NULL = -1;
/** field count that marks the end of the rows */
const END = -1;

/** The rows of one `COPY … TO STDOUT (FORMAT binary)` as batches of columns. The bytes come in runs of whole rows. */
export class CopyBatches {
  readonly #columns: readonly Column[];
  readonly #builders: readonly (ColumnBuilder | null)[];
  readonly #sent: readonly ColumnBuilder[];
  #hasBegun = false;
  #hasEnded = false;
  #rows = 0;
  /** rows beyond rowsMax were there */
  hasMore = false;

  constructor(columns: readonly Column[]) {
    this.#columns = columns;
    this.#builders = columns.map((column) => (column.constant === undefined ? columnBuilder(column) : null));
    this.#sent = this.#builders.filter((builder) => builder !== null);
  }

  /** Rows that are not taken yet. */
  get rows(): number {
    return this.#rows;
  }

  /**
   * Copies the values of a run; its memory is free then.
   * @param rowsMax rows beyond so many in all are left out, and noted in hasMore
   * @throws RangeError when the bytes are no such rows
   */
  add(bytes: Uint8Array, rowsMax = Infinity): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let at = this.#hasBegun ? 0 : this.#begin(bytes, view);
    while (at < bytes.length) {
      const fields = view.getInt16(at);
      at += 2;
      if (fields === END) {
        this.#hasEnded = true;
        break;
      }
      if (this.#rows >= rowsMax) {
        this.hasMore = true;
        break;
      }
      at = this.#row(view, at, fields);
    }
  }

  /** The rows since the last take, as a batch. */
  take(): Batch {
    const rows = this.#rows;
    this.#rows = 0;
    const data = this.#builders.map((builder, at) =>
      builder === null ? constantOf(this.#columns[at], rows) : builder.take(rows),
    );
    return new Batch(this.#columns, rows, data);
  }

  /** Whether the mark came that ends the rows. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  #begin(bytes: Uint8Array, view: DataView): number {
    if (bytes.length < HEADER_BYTES || SIGNATURE.some((byte, at) => bytes[at] !== byte))
      throw new RangeError('these bytes are no binary COPY');
    this.#hasBegun = true;
    return HEADER_BYTES + view.getInt32(SIGNATURE.length + 4);
  }

  #row(view: DataView, start: number, fields: number): number {
    const builders = this.#sent;
    if (fields !== builders.length)
      throw new RangeError(`${fields} fields where ${builders.length} are expected`);
    const row = this.#rows;
    let at = start;
    for (let field = 0; field < fields; field += 1) {
      const length = view.getInt32(at);
      at += 4;
      if (length === NULL) {
        builders[field].putNull(row);
        continue;
      }
      if (at + length > view.byteLength) throw new RangeError('a row runs beyond the end');
      builders[field].put(view, at, length, row);
      at += length;
    }
    this.#rows = row + 1;
    return at;
  }
}

function constantOf({ constant = '' }: Column, rows: number): ColumnData {
  return {
    data: { kind: 'dictionary', codes: new Int32Array(rows), words: [constant] },
    validity: null,
    nulls: 0,
  };
}
