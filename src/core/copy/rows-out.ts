/** "PGCOPY\n\xff\r\n\0" */
const SIGNATURE = Buffer.from([0x50, 0x47, 0x43, 0x4f, 0x50, 0x59, 0x0a, 0xff, 0x0d, 0x0a, 0x00]);
/** signature, flags, length of the header extension */
const HEADER_BYTES = SIGNATURE.length + 4 + 4;
const NULL = -1;
/** field count that marks the end of the rows */
const END = -1;

/**
 * Walks the rows of a `COPY … TO STDOUT (FORMAT binary)` and locates each field without decoding it. A row can be visited
 * again by its offset.
 */
export class CopyRows {
  /** where each field's value begins in the current row */
  readonly starts: Int32Array;
  /** length of each field in the current row, bytes; −1 for null */
  readonly lengths: Int32Array;
  bytes: Buffer = Buffer.alloc(0);
  /** the same memory; reads cost a third of a Buffer's */
  #view: DataView = new DataView(new ArrayBuffer(0));
  /** offset of the current row, for visit() */
  row = 0;
  #next = 0;

  constructor(fields: number) {
    this.starts = new Int32Array(fields);
    this.lengths = new Int32Array(fields);
  }

  /**
   * Positions before the first row of these bytes, which the caller must not change.
   * @throws RangeError when they are not a binary COPY
   */
  begin(bytes: Buffer): void {
    if (bytes.length < HEADER_BYTES || !bytes.subarray(0, SIGNATURE.length).equals(SIGNATURE)) {
      throw new RangeError('these bytes are no binary COPY');
    }
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#next = HEADER_BYTES + bytes.readInt32BE(SIGNATURE.length + 4);
  }

  /**
   * Moves to the next row; false after the last one.
   * @throws RangeError when the bytes end early or a row has a different number of fields
   */
  next(): boolean {
    const count = this.#view.getInt16(this.#next);
    if (count === END) return false;
    this.#next = this.visit(this.#next);
    return true;
  }

  /** Makes the row at this offset the current one; returns the offset after it. */
  visit(row: number): number {
    const { starts, lengths } = this;
    const view = this.#view;
    const fields = starts.length;
    if (view.getInt16(row) !== fields)
      throw new RangeError(`a row at byte ${row} does not have ${fields} fields`);
    let at = row + 2;
    for (let field = 0; field < fields; field++) {
      const length = view.getInt32(at);
      at += 4;
      starts[field] = at;
      lengths[field] = length;
      if (length !== NULL) at += length;
    }
    if (at > view.byteLength) throw new RangeError(`the row at byte ${row} runs beyond the end`);
    this.row = row;
    return at;
  }

  isNull(field: number): boolean {
    return this.lengths[field] === NULL;
  }

  /** text or bytea: the bytes, shared; null for null. */
  run(field: number): Buffer | null {
    return this.isNull(field) ? null : this.required(field);
  }

  /** The same for a column that is never null. */
  required(field: number): Buffer {
    const start = this.starts[field];
    return this.bytes.subarray(start, start + Math.max(0, this.lengths[field]));
  }

  /** int8, for a column that is never null. */
  int64(field: number): bigint {
    return this.#view.getBigInt64(this.starts[field]);
  }

  /** timestamptz in µs since 1970; `infinity` yields a value no valid time has. */
  micros(field: number): bigint | null {
    return this.isNull(field) ? null : this.int64(field) + EPOCH_2000_MICROS;
  }

  /** numeric as a u64; null when it is null or not a u64: negative, with a fraction, NaN, infinite, too large. */
  u64(field: number): bigint | null {
    if (this.isNull(field)) return null;
    const view = this.#view;
    const at = this.starts[field];
    const digits = view.getInt16(at);
    const weight = view.getInt16(at + 2);
    // any sign other than plus: negative, NaN, infinities
    if (view.getUint16(at + 4) !== 0 || digits > weight + 1 || weight >= WEIGHT_MAX) return null;
    // the first 12 decimal digits need no BigInt arithmetic
    let low = 0;
    const exact = Math.min(weight + 1, 3);
    for (let i = 0; i < exact; i++) low = low * BASE + (i < digits ? view.getInt16(at + 8 + 2 * i) : 0);
    let value = BigInt(low);
    for (let i = exact; i <= weight; i++) {
      value = value * BigInt(BASE) + BigInt(i < digits ? view.getInt16(at + 8 + 2 * i) : 0);
    }
    return value > U64_MAX ? null : value;
  }
}

const EPOCH_2000_MICROS = 946_684_800_000_000n;
/** numeric has base-10,000 digits; five of them hold a u64 */
const BASE = 10_000;
const WEIGHT_MAX = 5;
const U64_MAX = 2n ** 64n - 1n;
