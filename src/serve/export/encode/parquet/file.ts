import { constants, zstdCompressSync } from 'node:zlib';
import type {
  ColumnChunk as ChunkMetadata,
  ColumnMetaData,
  Encoding,
  RowGroup,
  SchemaElement,
} from 'hyparquet';
import { ByteWriter } from 'hyparquet-writer';
import { writePageHeader } from 'hyparquet-writer/src/datapage.js';
import { writeMetadata } from 'hyparquet-writer/src/metadata.js';
import type { Batch } from '../../../../core/table/batch.ts';
import type { Column } from '../../../../core/table/column.ts';
import { ColumnChunk, type ChunkPages } from './column-chunk.ts';

/** Rows of a row group: so many are held in memory, here and by whoever reads the file. */
export const ROW_GROUP_ROWS = 122_880;

/** Fast; higher levels take twice the time for some percent. */
const ZSTD_LEVEL = 1;

/** "PAR1" */
const MAGIC = 0x31524150;
/** of the format */
const VERSION = 2;

type Bytes = Uint8Array<ArrayBuffer>;

/**
 * One Parquet file: batches in, bytes out. Row groups have ROW_GROUP_ROWS rows whatever the size of the batches. Each column of a
 * group is one data page (version 1, which every reader knows) of plain values, or of codes of a dictionary where texts
 * repeat; pages are compressed by zstd. Headers and footer are hyparquet-writer's; its own way from values to pages costs an
 * object for each value, ten times as much in all (measured).
 */
export class ParquetFile {
  readonly #columns: readonly Column[];
  readonly #schema: SchemaElement[];
  readonly #out = new TakenWriter();
  readonly #chunks: readonly ColumnChunk[];
  readonly #groups: RowGroup[] = [];
  /** in the open group */
  #rows = 0;
  #rowsInAll = 0n;

  constructor(columns: readonly Column[]) {
    this.#columns = columns;
    this.#schema = schemaOf(columns);
    this.#chunks = columns.map(() => new ColumnChunk(ROW_GROUP_ROWS));
    this.#out.appendUint32(MAGIC);
  }

  /** The bytes that are complete: possibly none. */
  add(batch: Batch): Bytes {
    for (let from = 0; from < batch.rows;) {
      const to = Math.min(batch.rows, from + ROW_GROUP_ROWS - this.#rows);
      this.#chunks.forEach((chunk, at) => chunk.add(batch.data[at], from, to));
      this.#rows += to - from;
      from = to;
      if (this.#rows === ROW_GROUP_ROWS) this.#writeGroup();
    }
    return this.#out.take();
  }

  /** The rest of the bytes. */
  finish(): Bytes {
    if (this.#rows > 0) this.#writeGroup();
    writeMetadata(this.#out, {
      version: VERSION,
      created_by: 'tick-ingester',
      schema: this.#schema,
      num_rows: this.#rowsInAll,
      row_groups: this.#groups,
    } as Parameters<typeof writeMetadata>[1]); // metadata_length is not part of the format
    this.#out.appendUint32(MAGIC);
    return this.#out.take();
  }

  #writeGroup(): void {
    const start = this.#out.offset;
    const rows = this.#rows;
    this.#rows = 0;
    this.#rowsInAll += BigInt(rows);
    const columns = this.#chunks.map((chunk, at) =>
      this.#writeChunk(this.#schema[at + 1], this.#columns[at].name, chunk.take(), rows),
    );
    const size = columns.reduce(
      (sum, { meta_data: data }) => sum + (data?.total_uncompressed_size ?? 0n),
      0n,
    );
    this.#groups.push({
      columns,
      total_byte_size: size,
      num_rows: BigInt(rows),
      total_compressed_size: BigInt(this.#out.offset - start),
    });
  }

  #writeChunk(element: SchemaElement, name: string, pages: ChunkPages, rows: number): ChunkMetadata {
    const out = this.#out;
    const start = out.offset;
    let plainBytes = 0;
    if (pages.dictionary !== null) {
      plainBytes += writePage(out, pages.dictionary.bytes, (sizes) => ({
        type: 'DICTIONARY_PAGE',
        ...sizes,
        dictionary_page_header: { num_values: pages.dictionary?.words ?? 0, encoding: 'PLAIN' },
      }));
    }
    const dataStart = out.offset;
    const encoding: Encoding = pages.dictionary === null ? 'PLAIN' : 'RLE_DICTIONARY';
    plainBytes += writePage(out, pages.data, (sizes) => ({
      type: 'DATA_PAGE',
      ...sizes,
      data_page_header: {
        num_values: rows,
        encoding,
        definition_level_encoding: 'RLE',
        repetition_level_encoding: 'RLE',
      },
    }));
    const { min, max, nulls } = pages;
    const range = min === null || max === null ? {} : { min_value: min, max_value: max };
    const metadata: ColumnMetaData = {
      type: element.type ?? 'BYTE_ARRAY',
      encodings: pages.dictionary === null ? ['RLE', 'PLAIN'] : ['RLE', 'PLAIN', 'RLE_DICTIONARY'],
      path_in_schema: [name],
      codec: 'ZSTD',
      num_values: BigInt(rows),
      total_uncompressed_size: BigInt(plainBytes),
      total_compressed_size: BigInt(out.offset - start),
      data_page_offset: BigInt(dataStart),
      statistics: { null_count: BigInt(nulls), ...range },
      ...(pages.dictionary === null ? {} : { dictionary_page_offset: BigInt(start) }),
    };
    return { file_offset: 0n, meta_data: metadata };
  }
}

type PageHeader = Parameters<typeof writePageHeader>[1];
type PageSizes = Pick<PageHeader, 'uncompressed_page_size' | 'compressed_page_size'>;

/** Returns its size with its header, uncompressed. */
function writePage(out: ByteWriter, plain: Uint8Array, header: (sizes: PageSizes) => PageHeader): number {
  const packed = zstdCompressSync(plain, { params: { [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL } });
  const start = out.offset;
  writePageHeader(out, header({ uncompressed_page_size: plain.length, compressed_page_size: packed.length }));
  const headerBytes = out.offset - start;
  out.appendBytes(packed);
  return headerBytes + plain.length;
}

/** What is written, until it is taken. */
class TakenWriter extends ByteWriter {
  take(): Bytes {
    const bytes = this.getBytes().slice();
    this.index = 0;
    return bytes;
  }
}

function schemaOf(columns: readonly Column[]): SchemaElement[] {
  return [{ name: 'root', num_children: columns.length }, ...columns.map(elementOf)];
}

/** Every column may be null: readers that append files of a dataset then find one schema. */
function elementOf({ name, type }: Column): SchemaElement {
  const common = { name, repetition_type: 'OPTIONAL' } as const;
  switch (type) {
    case 'float64':
      return { ...common, type: 'DOUBLE' };
    case 'int64':
    case 'count':
      return { ...common, type: 'INT64' };
    case 'uint64':
      // its logical type beside it, as hyparquet-writer writes that, is not read by pyarrow
      return { ...common, type: 'INT64', converted_type: 'UINT_64' };
    case 'int16':
      return { ...common, type: 'INT32', converted_type: 'INT_16' };
    case 'timestamp':
      return {
        ...common,
        type: 'INT64',
        converted_type: 'TIMESTAMP_MICROS',
        logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: true, unit: 'MICROS' },
      };
    case 'bool':
      return { ...common, type: 'BOOLEAN' };
    case 'text':
    case 'decimal':
    case 'json':
    case 'hex':
      return { ...common, type: 'BYTE_ARRAY', converted_type: 'UTF8', logical_type: { type: 'STRING' } };
  }
}
