/** "PGCOPY\n\xff\r\n\0" */
const SIGNATURE = Buffer.from([0x50, 0x47, 0x43, 0x4f, 0x50, 0x59, 0x0a, 0xff, 0x0d, 0x0a, 0x00]);
/** signature, flags, length of the header's extension */
const HEADER_BYTES = SIGNATURE.length + 4 + 4;
const NULL = -1;
/** the number of fields that stands for the end of the rows */
const END = -1;

/**
 * Walks the rows of a `COPY … TO STDOUT (FORMAT binary)` without decoding them: where each field lies. A row
 * can be visited again by its offset.
 */
export class CopyRows {
  /** of the present row: where each field's value begins */
  readonly starts: Int32Array;
  /** of the present row: the bytes of each field, −1 for null */
  readonly lengths: Int32Array;
  bytes: Buffer = Buffer.alloc(0);
  /** the same memory; its reads are a third of the cost of a Buffer's */
  #view: DataView = new DataView(new ArrayBuffer(0));
  /** offset of the present row, to be handed to visit() */
  row = 0;
  #next = 0;

  constructor(fields: number) {
    this.starts = new Int32Array(fields);
    this.lengths = new Int32Array(fields);
  }

  /**
   * Stands before the first row of these bytes, which stay the caller's and must not change.
   * @throws RangeError when they are no binary COPY
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
   * Goes to the next row; false behind the last one.
   * @throws RangeError when the bytes end early or a row has another number of fields
   */
  next(): boolean {
    const count = this.#view.getInt16(this.#next);
    if (count === END) return false;
    this.#next = this.visit(this.#next);
    return true;
  }

  /** Makes the row at this offset the present one; returns the offset behind it. */
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

  /** text or bytea: the bytes themselves, shared; null for null. */
  run(field: number): Buffer | null {
    return this.isNull(field) ? null : this.required(field);
  }

  /** The same of a column that is never null. */
  required(field: number): Buffer {
    const start = this.starts[field];
    return this.bytes.subarray(start, start + Math.max(0, this.lengths[field]));
  }

  /** int8 of a column that is never null. */
  int64(field: number): bigint {
    return this.#view.getBigInt64(this.starts[field]);
  }

  /** timestamptz in µs since 1970; `infinity` is far outside of what a u64 of microseconds can hold. */
  micros(field: number): bigint | null {
    return this.isNull(field) ? null : this.int64(field) + EPOCH_2000_MICROS;
  }

  /** numeric as a u64; null when it is null or none: negative, with a fraction, NaN, infinite, too large. */
  u64(field: number): bigint | null {
    if (this.isNull(field)) return null;
    const view = this.#view;
    const at = this.starts[field];
    const digits = view.getInt16(at);
    const weight = view.getInt16(at + 2);
    // any sign but plus: negative, NaN, infinities
    if (view.getUint16(at + 4) !== 0 || digits > weight + 1 || weight >= WEIGHT_MAX) return null;
    // most values have 16 decimal digits at most and need no BigInt arithmetic
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
/** numeric has digits of base 10,000; five of them hold a u64 */
const BASE = 10_000;
const WEIGHT_MAX = 5;
const U64_MAX = 2n ** 64n - 1n;
