import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from 'node:zlib';
import {
  asyncBufferFromFile,
  parquetMetadataAsync,
  parquetRead,
  parquetSchema,
  type Compressors,
} from 'hyparquet';
import { DEFAULT_PARSERS } from 'hyparquet/src/convert.js';
import type { ImportColumn } from '../../core/import/tick-row.ts';
import { ImportFileError, SOURCE_ROWS, type RowSource, type SourceRow } from './source.ts';

/** The times of Parquet as µs since 1970; its own way makes Dates, which have no µs. */
const EXACT_TIMES = {
  ...DEFAULT_PARSERS,
  timestampFromMilliseconds: (millis: bigint) => millis * 1000n,
  timestampFromMicroseconds: (micros: bigint) => micros,
  timestampFromNanoseconds: (nanos: bigint) => nanos / 1000n,
  dateFromDays: (days: number) => BigInt(days) * 86_400_000_000n,
};

/** snappy is hyparquet's own */
const COMPRESSORS: Compressors = {
  ZSTD: (input) => zstdDecompressSync(input),
  GZIP: (input) => gunzipSync(input),
  BROTLI: (input) => brotliDecompressSync(input),
};

/** One row group at a time is in memory. @param columnsOf which column each name of the schema is */
export async function* parquetSource(
  path: string,
  columnsOf: (names: readonly string[]) => readonly (ImportColumn | null)[],
): RowSource {
  try {
    const file = await asyncBufferFromFile(path);
    const metadata = await parquetMetadataAsync(file);
    const names = parquetSchema(metadata).children.map(({ element }) => element.name);
    const columns = columnsOf(names);
    const read = names.filter((_, at) => columns[at] !== null);
    let from = 0;
    for (const { num_rows: count } of metadata.row_groups) {
      const to = from + Number(count);
      const values = new Map<string, unknown[]>();
      await parquetRead({
        file,
        metadata,
        columns: read,
        rowStart: from,
        rowEnd: to,
        compressors: COMPRESSORS,
        parsers: EXACT_TIMES,
        onChunk({ columnName, columnData, rowStart }) {
          const all = values.get(columnName) ?? [];
          for (let at = 0; at < columnData.length; at += 1) all[rowStart - from + at] = columnData[at];
          values.set(columnName, all);
        },
      });
      for (let row = from; row < to; row += SOURCE_ROWS)
        yield rowsOf(
          values,
          read as ImportColumn[],
          row - from,
          Math.min(to, row + SOURCE_ROWS) - from,
          from,
        );
      from = to;
    }
  } catch (error) {
    if (error instanceof ImportFileError) throw error;
    throw new ImportFileError(`${path}: ${(error as Error).message}`, { cause: error });
  }
}

function rowsOf(
  values: ReadonlyMap<string, readonly unknown[]>,
  columns: readonly ImportColumn[],
  start: number,
  end: number,
  before: number,
): SourceRow[] {
  return Array.from({ length: end - start }, (_, at) => ({
    line: before + start + at + 1,
    values: Object.fromEntries(columns.map((column) => [column, values.get(column)?.[start + at] ?? null])),
    problem: null,
  }));
}
