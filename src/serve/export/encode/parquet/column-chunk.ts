import { isNullAt, type ColumnData, type ColumnValues } from '../../../../core/table/batch.ts';
import { bitWidth, packCodes } from './bit-packing.ts';

/** The values of one column of a row group, without its nulls, as Parquet has them (PLAIN, or a dictionary and its codes). */
export interface ChunkPages {
  /** null: no dictionary */
  readonly dictionary: { readonly words: number; readonly bytes: Uint8Array } | null;
  /** definition levels, each preceded by their length, and the values */
  readonly data: Uint8Array;
  readonly nulls: number;
  /** of numbers and times */
  readonly min: number | bigint | null;
  readonly max: number | bigint | null;
}

/** Above it words are written where they stand. */
const WORDS_MAX = 50_000;

/** Collects a column of a row group from columns of batches. */
export class ColumnChunk {
  readonly #levels: Uint8Array;
  readonly #plain: PlainValues;
  #rows = 0;
  #nulls = 0;

  /** @param rowsMax of a row group */
  constructor(rowsMax: number) {
    this.#levels = new Uint8Array((rowsMax + 7) >> 3);
    this.#plain = new PlainValues(rowsMax);
  }

  /** Rows [from, to) of a column. */
  add({ data, validity }: ColumnData, from: number, to: number): void {
    const plain = this.#plain;
    if (validity === null) {
      for (let row = this.#rows; row < this.#rows + to - from; row += 1)
        this.#levels[row >> 3] |= 1 << (row & 7);
      plain.addRange(data, from, to);
      this.#rows += to - from;
      return;
    }
    for (let row = from; row < to; row += 1) {
      if (isNullAt(validity, row)) this.#nulls += 1;
      else {
        this.#levels[this.#rows >> 3] |= 1 << (this.#rows & 7);
        plain.addRange(data, row, row + 1);
      }
      this.#rows += 1;
    }
  }

  /** The chunk is empty then. */
  take(): ChunkPages {
    const levels = levelBytes(this.#levels, this.#rows, this.#nulls);
    const { dictionary, values, min, max } = this.#plain.take();
    const data = new Uint8Array(4 + levels.length + values.length);
    new DataView(data.buffer).setUint32(0, levels.length, true);
    data.set(levels, 4);
    data.set(values, 4 + levels.length);
    const nulls = this.#nulls;
    this.#levels.fill(0);
    this.#rows = 0;
    this.#nulls = 0;
    return { dictionary, data, nulls, min, max };
  }
}

/** As a hybrid of runs: one run of ones where nothing is null, else the bitmap as it is. */
function levelBytes(bitmap: Uint8Array, rows: number, nulls: number): Uint8Array {
  if (nulls === 0) return Uint8Array.from([...varint(rows << 1), 1]);
  const bytes = (rows + 7) >> 3;
  const header = varint((bytes << 1) | 1);
  const levels = new Uint8Array(header.length + bytes);
  levels.set(header);
  levels.set(bitmap.subarray(0, bytes), header.length);
  return levels;
}

export function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 0x7f; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  return [...bytes, rest];
}

interface Taken {
  dictionary: ChunkPages['dictionary'];
  values: Uint8Array;
  min: number | bigint | null;
  max: number | bigint | null;
}

const TEXT_BYTES_FIRST = 64 * 1024;
const UTF8 = new TextEncoder();

/** Values of one kind, which the first ones tell. Numbers are little-endian, as the machine has them. */
class PlainValues {
  readonly #rowsMax: number;
  #kind: ColumnValues['kind'] | null = null;
  #count = 0;
  /** eight bytes a value, or four */
  #words: Float64Array | BigInt64Array | BigUint64Array | Int32Array = new Int32Array(0);
  #text = new Uint8Array(0);
  #length = 0;
  /** codes of the batches, as their dictionaries number them */
  #dictionary: readonly string[] = [];

  constructor(rowsMax: number) {
    this.#rowsMax = rowsMax;
  }

  addRange(data: ColumnValues, from: number, to: number): void {
    this.#kind ??= this.#begin(data.kind);
    const at = this.#count;
    this.#count += to - from;
    switch (data.kind) {
      case 'float64':
      case 'int64':
      case 'uint64':
        // one value is set faster than a view of it is made
        if (to - from === 1) this.#words[at] = data.values[from];
        else (this.#words as Float64Array).set(data.values.subarray(from, to) as Float64Array, at);
        break;
      case 'int16':
      case 'bool':
        for (let row = from; row < to; row += 1) this.#words[at + row - from] = data.values[row];
        break;
      case 'dictionary':
        this.#dictionary = data.words;
        for (let row = from; row < to; row += 1) this.#words[at + row - from] = data.codes[row];
        break;
      case 'text':
        for (let row = from; row < to; row += 1)
          this.#putText(data.bytes, data.offsets[row], data.offsets[row + 1]);
        break;
    }
  }

  take(): Taken {
    const taken = this.#taken();
    this.#count = 0;
    this.#length = 0;
    return taken;
  }

  #taken(): Taken {
    const none = { dictionary: null, min: null, max: null };
    const words = this.#words.subarray(0, this.#count);
    switch (this.#kind) {
      case null:
        return { ...none, values: new Uint8Array(0) };
      case 'float64':
      case 'int64':
        return { ...none, values: bytesOf(words), ...rangeOf(words as Float64Array | BigInt64Array) };
      case 'uint64':
        return { ...none, values: bytesOf(words) };
      case 'int16':
        return { ...none, values: bytesOf(words), ...rangeOf(words as Int32Array) };
      case 'bool':
        return { ...none, values: packCodes(words as Int32Array, 1) };
      case 'text':
        return { ...none, values: this.#text.slice(0, this.#length) };
      case 'dictionary':
        return { ...none, ...this.#coded(words as Int32Array) };
    }
  }

  /** The words that the codes name, numbered in the order in which they come. */
  #coded(codes: Int32Array): Pick<Taken, 'dictionary' | 'values'> {
    const numbers = new Map<number, number>();
    for (let at = 0; at < codes.length; at += 1) {
      let number = numbers.get(codes[at]);
      if (number === undefined) numbers.set(codes[at], (number = numbers.size));
      codes[at] = number;
    }
    const words = [...numbers.keys()].map((code) => UTF8.encode(this.#dictionary[code]));
    this.#length = 0;
    if (words.length > WORDS_MAX) {
      for (const code of codes) this.#putText(words[code], 0, words[code].length);
      return { dictionary: null, values: this.#text.slice(0, this.#length) };
    }
    for (const word of words) this.#putText(word, 0, word.length);
    const width = bitWidth(words.length - 1);
    const groups = (codes.length + 7) >> 3;
    const header = [width, ...varint((groups << 1) | 1)];
    const packed = packCodes(codes, width);
    const values = new Uint8Array(header.length + packed.length);
    values.set(header);
    values.set(packed, header.length);
    return { dictionary: { words: words.length, bytes: this.#text.slice(0, this.#length) }, values };
  }

  #begin(kind: ColumnValues['kind']): ColumnValues['kind'] {
    const rows = this.#rowsMax;
    if (kind === 'float64') this.#words = new Float64Array(rows);
    else if (kind === 'int64') this.#words = new BigInt64Array(rows);
    else if (kind === 'uint64') this.#words = new BigUint64Array(rows);
    else if (kind !== 'text') this.#words = new Int32Array(rows);
    return kind;
  }

  /** The length as four bytes, and the bytes. */
  #putText(bytes: Uint8Array, from: number, to: number): void {
    const needed = this.#length + 4 + to - from;
    if (needed > this.#text.length) {
      const larger = new Uint8Array(Math.max(TEXT_BYTES_FIRST, needed * 2));
      larger.set(this.#text.subarray(0, this.#length));
      this.#text = larger;
    }
    const length = to - from;
    this.#text[this.#length] = length & 0xff;
    this.#text[this.#length + 1] = (length >> 8) & 0xff;
    this.#text[this.#length + 2] = (length >> 16) & 0xff;
    this.#text[this.#length + 3] = length >>> 24;
    this.#text.set(bytes.subarray(from, to), this.#length + 4);
    this.#length = needed;
  }
}

function bytesOf(words: ArrayBufferView): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}

/** NaN has no place in an order: then there is no range. */
function rangeOf(values: Float64Array | BigInt64Array | Int32Array): {
  min: number | bigint | null;
  max: number | bigint | null;
} {
  if (values.length === 0) return { min: null, max: null };
  let [min, max] = [values[0], values[0]];
  for (let at = 1; at < values.length; at += 1) {
    const value = values[at];
    if (value < min) min = value;
    else if (value > max) max = value;
    else if (value !== value) return { min: null, max: null };
  }
  return min === min ? { min, max } : { min: null, max: null };
}
