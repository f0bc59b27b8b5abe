import {
  AsyncByteQueue,
  Bool,
  Dictionary,
  Field,
  Float64,
  Int16,
  Int32,
  Int64,
  makeData,
  RecordBatch,
  RecordBatchStreamWriter,
  Schema,
  Struct,
  TimestampMicrosecond,
  Uint64,
  Utf8,
  Vector,
  vectorFromArray,
  type Data,
  type DataType,
} from 'apache-arrow';
import type { Batch, ColumnData } from '../../core/table/batch.ts';
import type { Column } from '../../core/table/column.ts';

/** Arrow IPC stream: times are timestamp(µs, UTC), repeated texts a dictionary, decimals and JSON utf8. */
export async function* arrow(
  columns: readonly Column[],
  batches: AsyncIterable<Batch>,
): AsyncGenerator<Buffer, void, undefined> {
  const sink = new Chunks();
  const writer = new RecordBatchStreamWriter();
  const fields = columns.map((column, at) => new Field(column.name, typeOf(column, at), true));
  const schema = new Schema(fields);
  const dictionaries = new Dictionaries();
  writer.reset(sink, schema);
  for await (const batch of batches) {
    if (batch.rows === 0) continue;
    const children = fields.map((field, at) =>
      dataOf(field.type, batch.data[at], batch.rows, at, dictionaries),
    );
    const data = makeData({ type: new Struct(fields), length: batch.rows, nullCount: 0, children });
    writer.write(new RecordBatch(schema, data));
    yield sink.take();
  }
  // a dictionary that no row needed must be there all the same: readers want one for each of the schema
  if (!dictionaries.isWritten && columns.some(isDictionary)) {
    const children = fields.map((field, at) => emptyOf(field.type, at, dictionaries));
    writer.write(
      new RecordBatch(schema, makeData({ type: new Struct(fields), length: 0, nullCount: 0, children })),
    );
  }
  writer.finish();
  yield sink.take();
}

/** Where the writer puts its bytes, until they are taken. */
class Chunks extends AsyncByteQueue {
  #chunks: Uint8Array[] = [];

  override write(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
  }

  take(): Buffer {
    const all = Buffer.concat(this.#chunks);
    this.#chunks = [];
    return all;
  }
}

function isDictionary({ type, repeats, constant }: Column): boolean {
  return constant !== undefined || (type === 'text' && repeats === true);
}

function typeOf(column: Column, at: number): DataType {
  if (isDictionary(column)) return new Dictionary(new Utf8(), new Int32(), at);
  switch (column.type) {
    case 'float64':
      return new Float64();
    case 'int64':
    case 'count':
      return new Int64();
    case 'uint64':
      return new Uint64();
    case 'int16':
      return new Int16();
    case 'bool':
      return new Bool();
    case 'timestamp':
      return new TimestampMicrosecond('UTC');
    case 'text':
    case 'decimal':
    case 'json':
    case 'hex':
      return new Utf8();
  }
}

/**
 * The words of each column so far. A batch with new ones replaces them all: added words (delta dictionaries) are not read by
 * polars.
 */
class Dictionaries {
  readonly #vectors = new Map<number, Vector<Utf8>>();
  isWritten = false;

  of(at: number, words: readonly string[]): Vector<Utf8> {
    this.isWritten = true;
    const known = this.#vectors.get(at);
    if (known !== undefined && known.length === words.length) return known;
    const vector = vectorFromArray(words, new Utf8());
    this.#vectors.set(at, vector);
    return vector;
  }
}

function dataOf(
  type: DataType,
  { data, validity, nulls }: ColumnData,
  length: number,
  at: number,
  dictionaries: Dictionaries,
): Data {
  const common = { length, nullCount: nulls, ...(validity === null ? {} : { nullBitmap: validity }) };
  switch (data.kind) {
    case 'text':
      return makeData({ type: type as Utf8, ...common, valueOffsets: data.offsets, data: data.bytes });
    case 'dictionary':
      return makeData({
        type: type as Dictionary<Utf8, Int32>,
        ...common,
        data: data.codes,
        dictionary: dictionaries.of(at, data.words),
      });
    case 'bool':
      return makeData({ type: type as Bool, ...common, data: bitsOf(data.values) });
    case 'float64':
      return makeData({ type: type as Float64, ...common, data: data.values });
    case 'int16':
      return makeData({ type: type as Int16, ...common, data: data.values });
    case 'uint64':
      return makeData({ type: type as Uint64, ...common, data: data.values });
    case 'int64':
      return makeData({ type: type as Int64, ...common, data: data.values });
  }
}

function emptyOf(type: DataType, at: number, dictionaries: Dictionaries): Data {
  if (!(type instanceof Dictionary)) return makeData({ type, length: 0, nullCount: 0 } as never);
  return makeData({
    type,
    length: 0,
    nullCount: 0,
    data: new Int32Array(0),
    dictionary: dictionaries.of(at, []),
  });
}

function bitsOf(values: Uint8Array): Uint8Array {
  const bits = new Uint8Array((values.length + 7) >> 3);
  values.forEach((value, at) => {
    if (value === 1) bits[at >> 3] |= 1 << (at & 7);
  });
  return bits;
}
