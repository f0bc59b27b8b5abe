import type { ColumnData } from './batch.ts';
import type { Column } from './column.ts';

/** Collects the values of one column from the fields of a binary COPY. */
export interface ColumnBuilder {
  /** Of row `row`, the value in the `length` bytes at `at`. Rows come in order. */
  put(view: DataView, at: number, length: number, row: number): void;
  /** Of row `row`: null. */
  putNull(row: number): void;
  /** The values so far; the builder is empty then. */
  take(rows: number): ColumnData;
}

/** µs from 1970 to 2000, where timestamptz counts from, as two words */
const EPOCH_LOW = Number(946_684_800_000_000n & 0xffff_ffffn);
const EPOCH_HIGH = Number(946_684_800_000_000n >> 32n);
/** infinity and −infinity have no µs */
const INFINITY_HIGH = 0x7fff_ffff;
const MINUS_INFINITY_HIGH = -0x8000_0000;
const TWO_32 = 2 ** 32;

/** The first size of a column's memory, rows; it doubles. */
const ROWS_FIRST = 1024;

/** Which rows are null, as a bitmap that is only made where there is one. */
class Validity {
  #bits: Uint8Array | null = null;
  nulls = 0;

  markNull(row: number): void {
    if (this.#bits === null || row >> 3 >= this.#bits.length) {
      const larger = new Uint8Array(Math.max(ROWS_FIRST >> 3, ((row >> 3) + 1) * 2)).fill(0xff);
      if (this.#bits !== null) larger.set(this.#bits);
      this.#bits = larger;
    }
    this.#bits[row >> 3] &= ~(1 << (row & 7));
    this.nulls += 1;
  }

  take(rows: number): Pick<ColumnData, 'validity' | 'nulls'> {
    const { nulls } = this;
    let bits = this.#bits;
    this.#bits = null;
    this.nulls = 0;
    if (bits === null) return { validity: null, nulls: 0 };
    const bytes = (rows + 7) >> 3;
    if (bits.length < bytes) {
      const larger = new Uint8Array(bytes).fill(0xff);
      larger.set(bits);
      bits = larger;
    }
    return { validity: bits.subarray(0, bytes), nulls };
  }
}

type Words = Float64Array | BigInt64Array | BigUint64Array | Int16Array | Uint8Array | Int32Array;

function grown<T extends Words>(values: T, make: (length: number) => T): T {
  const larger = make(Math.max(ROWS_FIRST, values.length * 2));
  (larger as Uint8Array).set(values as Uint8Array);
  return larger;
}

class Doubles implements ColumnBuilder {
  readonly #validity = new Validity();
  #values = new Float64Array(ROWS_FIRST);

  put(view: DataView, at: number, length: number, row: number): void {
    if (length !== 8) throw new RangeError(`a double of ${length} bytes`);
    if (row >= this.#values.length) this.#values = grown(this.#values, (size) => new Float64Array(size));
    this.#values[row] = view.getFloat64(at);
  }

  putNull(row: number): void {
    if (row >= this.#values.length) this.#values = grown(this.#values, (size) => new Float64Array(size));
    this.#validity.markNull(row);
  }

  take(rows: number): ColumnData {
    const values = this.#values.subarray(0, rows);
    this.#values = new Float64Array(Math.max(ROWS_FIRST, rows));
    return { data: { kind: 'float64', values }, ...this.#validity.take(rows) };
  }
}

/** Moved as two words: a BigInt per value would be an object per value. */
class Longs implements ColumnBuilder {
  readonly #validity = new Validity();
  readonly #isTime: boolean;
  #values = new BigInt64Array(ROWS_FIRST);
  #words = new Int32Array(this.#values.buffer);

  constructor(isTime: boolean) {
    this.#isTime = isTime;
  }

  put(view: DataView, at: number, length: number, row: number): void {
    if (length !== 8) throw new RangeError(`an int8 of ${length} bytes`);
    if (row >= this.#values.length) this.#grow();
    let high = view.getInt32(at);
    let low = view.getUint32(at + 4);
    if (this.#isTime) {
      if ((high === INFINITY_HIGH && low === 0xffff_ffff) || (high === MINUS_INFINITY_HIGH && low === 0))
        throw new RangeError('an infinite time');
      low += EPOCH_LOW;
      high += EPOCH_HIGH;
      if (low >= TWO_32) high += 1;
    }
    this.#words[2 * row] = low;
    this.#words[2 * row + 1] = high;
  }

  putNull(row: number): void {
    if (row >= this.#values.length) this.#grow();
    this.#validity.markNull(row);
  }

  take(rows: number): ColumnData {
    const values = this.#values.subarray(0, rows);
    this.#values = new BigInt64Array(Math.max(ROWS_FIRST, rows));
    this.#words = new Int32Array(this.#values.buffer);
    return { data: { kind: 'int64', values }, ...this.#validity.take(rows) };
  }

  #grow(): void {
    this.#values = grown(this.#values, (size) => new BigInt64Array(size));
    this.#words = new Int32Array(this.#values.buffer);
  }
}

/** Sent as decimal digits: PostgreSQL has no unsigned type. */
class Unsigned implements ColumnBuilder {
  readonly #validity = new Validity();
  #values = new BigUint64Array(ROWS_FIRST);

  put(view: DataView, at: number, length: number, row: number): void {
    let value = 0n;
    for (let i = 0; i < length; i += 1) {
      const digit = view.getUint8(at + i) - 0x30;
      if (digit < 0 || digit > 9) throw new RangeError('not digits');
      value = value * 10n + BigInt(digit);
    }
    if (length === 0 || value > 0xffff_ffff_ffff_ffffn) throw new RangeError('no u64');
    if (row >= this.#values.length) this.#values = grown(this.#values, (size) => new BigUint64Array(size));
    this.#values[row] = value;
  }

  putNull(row: number): void {
    if (row >= this.#values.length) this.#values = grown(this.#values, (size) => new BigUint64Array(size));
    this.#validity.markNull(row);
  }

  take(rows: number): ColumnData {
    const values = this.#values.subarray(0, rows);
    this.#values = new BigUint64Array(Math.max(ROWS_FIRST, rows));
    return { data: { kind: 'uint64', values }, ...this.#validity.take(rows) };
  }
}

/** int2 and bool */
class Shorts implements ColumnBuilder {
  readonly #validity = new Validity();
  readonly #kind: 'int16' | 'bool';
  #values = new Int16Array(ROWS_FIRST);

  constructor(kind: 'int16' | 'bool') {
    this.#kind = kind;
  }

  put(view: DataView, at: number, length: number, row: number): void {
    if (length !== (this.#kind === 'bool' ? 1 : 2)) throw new RangeError(`${this.#kind} of ${length} bytes`);
    if (row >= this.#values.length) this.#values = grown(this.#values, (size) => new Int16Array(size));
    this.#values[row] = length === 1 ? view.getUint8(at) : view.getInt16(at);
  }

  putNull(row: number): void {
    if (row >= this.#values.length) this.#values = grown(this.#values, (size) => new Int16Array(size));
    this.#validity.markNull(row);
  }

  take(rows: number): ColumnData {
    const values = this.#values.subarray(0, rows);
    this.#values = new Int16Array(Math.max(ROWS_FIRST, rows));
    const nulls = this.#validity.take(rows);
    return this.#kind === 'bool'
      ? { data: { kind: 'bool', values: Uint8Array.from(values) }, ...nulls }
      : { data: { kind: 'int16', values }, ...nulls };
  }
}

const NONE = new Uint8Array(0);

class Texts implements ColumnBuilder {
  readonly #validity = new Validity();
  #offsets = new Int32Array(ROWS_FIRST + 1);
  #bytes: Uint8Array = NONE;
  #length = 0;

  put(view: DataView, at: number, length: number, row: number): void {
    if (this.#length + length > this.#bytes.length) this.#grow(length);
    const bytes = this.#bytes;
    const to = this.#length;
    if (length < 24) for (let i = 0; i < length; i += 1) bytes[to + i] = view.getUint8(at + i);
    else bytes.set(new Uint8Array(view.buffer, view.byteOffset + at, length), to);
    this.#end(row, to + length);
  }

  putNull(row: number): void {
    this.#end(row, this.#length);
    this.#validity.markNull(row);
  }

  take(rows: number): ColumnData {
    const offsets = this.#offsets.subarray(0, rows + 1);
    const bytes = this.#bytes.subarray(0, this.#length);
    this.#offsets = new Int32Array(Math.max(ROWS_FIRST, rows) + 1);
    this.#bytes = NONE;
    this.#length = 0;
    return { data: { kind: 'text', bytes, offsets }, ...this.#validity.take(rows) };
  }

  #end(row: number, length: number): void {
    if (row + 1 >= this.#offsets.length)
      this.#offsets = grown(this.#offsets, (size) => new Int32Array(size + 1));
    this.#length = length;
    this.#offsets[row + 1] = length;
  }

  #grow(length: number): void {
    const larger = new Uint8Array(Math.max(16_384, (this.#length + length) * 2));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
  }
}

/** So many distinct values stay in memory while a result is sent. */
const WORDS_MAX = 1_000_000;
const UTF8 = new TextDecoder();
/** a power of two */
const RECENT_SLOTS = 1024;

/** Texts with few distinct values; neighbours are often equal. */
class Repeated implements ColumnBuilder {
  readonly #validity = new Validity();
  readonly #words: string[] = [];
  readonly #codes = new Map<string, number>();
  #values = new Int32Array(ROWS_FIRST);
  /** values seen lately, by a hash of their bytes: to decode each one costs as much as the rest of its row */
  readonly #recent: ({ bytes: Uint8Array; code: number } | undefined)[] = Array.from({
    length: RECENT_SLOTS,
  });

  put(view: DataView, at: number, length: number, row: number): void {
    if (row >= this.#values.length) this.#values = grown(this.#values, (size) => new Int32Array(size));
    let hash = length;
    for (let i = 0; i < length; i += 1) hash = (Math.imul(hash, 31) + view.getUint8(at + i)) | 0;
    const slot = hash & (RECENT_SLOTS - 1);
    const recent = this.#recent[slot];
    this.#values[row] =
      recent !== undefined && isSame(recent.bytes, view, at, length)
        ? recent.code
        : this.#codeOf(view, at, length, slot);
  }

  putNull(row: number): void {
    if (row >= this.#values.length) this.#values = grown(this.#values, (size) => new Int32Array(size));
    this.#validity.markNull(row);
  }

  take(rows: number): ColumnData {
    const codes = this.#values.subarray(0, rows);
    this.#values = new Int32Array(Math.max(ROWS_FIRST, rows));
    return { data: { kind: 'dictionary', codes, words: this.#words }, ...this.#validity.take(rows) };
  }

  #codeOf(view: DataView, at: number, length: number, slot: number): number {
    const bytes = new Uint8Array(view.buffer, view.byteOffset + at, length).slice();
    const word = UTF8.decode(bytes);
    let code = this.#codes.get(word);
    if (code === undefined) {
      if (this.#words.length >= WORDS_MAX) throw new RangeError(`more than ${WORDS_MAX} distinct values`);
      code = this.#words.push(word) - 1;
      this.#codes.set(word, code);
    }
    this.#recent[slot] = { bytes, code };
    return code;
  }
}

function isSame(bytes: Uint8Array, view: DataView, at: number, length: number): boolean {
  if (bytes.length !== length) return false;
  for (let i = 0; i < length; i += 1) if (bytes[i] !== view.getUint8(at + i)) return false;
  return true;
}

export function columnBuilder({ type, repeats }: Column): ColumnBuilder {
  switch (type) {
    case 'float64':
      return new Doubles();
    case 'int64':
    case 'count':
      return new Longs(false);
    case 'timestamp':
      return new Longs(true);
    case 'uint64':
      return new Unsigned();
    case 'int16':
      return new Shorts('int16');
    case 'bool':
      return new Shorts('bool');
    case 'text':
      return repeats === true ? new Repeated() : new Texts();
    case 'decimal':
    case 'json':
    case 'hex':
      return new Texts();
  }
}
