import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { CsvError, parse } from 'csv-parse';
import type { Compression } from '../../core/export/format.ts';
import type { ImportColumn } from '../../core/import/tick-row.ts';
import { ImportFileError, SOURCE_ROWS, type RowSource, type SourceRow } from './source.ts';

/** Whoever reads the parser gets the error. */
function ended(): void {}

/** of a row, bytes: an open quote would take the whole file otherwise */
const ROW_BYTES_MAX = 1024 * 1024;

interface Parsed {
  record: string[];
  info: { lines: number };
}

/** @param columnsOf which column each name of the header is */
export async function* csvSource(
  path: string,
  compression: Compression,
  columnsOf: (names: readonly string[]) => readonly (ImportColumn | null)[],
): RowSource {
  const parser = parse({ bom: true, info: true, relax_column_count: true, max_record_size: ROW_BYTES_MAX });
  const file = createReadStream(path);
  if (compression === 'gzip') pipeline(file, createGunzip(), parser, ended);
  else if (compression === 'zstd') pipeline(file, createZstdDecompress(), parser, ended);
  else pipeline(file, parser, ended);
  let columns: readonly (ImportColumn | null)[] | null = null;
  let rows: SourceRow[] = [];
  try {
    for await (const { record, info } of parser as AsyncIterable<Parsed>) {
      if (columns === null) {
        columns = columnsOf(record);
        continue;
      }
      rows.push(rowOf(record, columns, info.lines));
      if (rows.length < SOURCE_ROWS) continue;
      yield rows;
      rows = [];
    }
  } catch (error) {
    throw error instanceof CsvError || 'code' in (error as object)
      ? new ImportFileError(`${path}: ${(error as Error).message}`, { cause: error })
      : error;
  } finally {
    parser.destroy();
    file.destroy();
  }
  if (columns === null) throw new ImportFileError(`${path} is empty: the first line names the columns`);
  if (rows.length > 0) yield rows;
}

function rowOf(
  record: readonly string[],
  columns: readonly (ImportColumn | null)[],
  line: number,
): SourceRow {
  if (record.length !== columns.length)
    return { line, values: {}, problem: `${record.length} fields, where the header has ${columns.length}` };
  const values: Record<string, string> = {};
  columns.forEach((column, at) => {
    if (column !== null) values[column] = record[at];
  });
  return { line, values, problem: null };
}
