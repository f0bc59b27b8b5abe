import type { ImportColumn, ImportValues } from '../../core/import/tick-row.ts';

/** A row of a file. */
export interface SourceRow {
  /** the line that it ends on, from 1; of Parquet the number of the row, from 1 */
  line: number;
  values: ImportValues;
  /** it has not the fields that the header has */
  problem: string | null;
}

/** The rows of a file, some at once. Throws ImportFileError. */
export type RowSource = AsyncGenerator<readonly SourceRow[], void, undefined>;

/** A file that cannot be read, or not as it should be. */
export class ImportFileError extends Error {
  override name = 'ImportFileError';
}

/** rows that come at once, at most */
export const SOURCE_ROWS = 5000;

/**
 * Which column each of a file is; null: it is left out.
 * @throws ImportFileError for names that no column has, and where needed ones are missing
 */
export function columnsOf(
  path: string,
  names: readonly string[],
  known: readonly ImportColumn[],
  ignored: readonly string[],
  given: ImportValues,
): (ImportColumn | null)[] {
  const columns = names.map((name) => known.find((column) => column === name) ?? null);
  const unknown = names.filter((name, at) => columns[at] === null && !ignored.includes(name));
  if (unknown.length > 0)
    throw new ImportFileError(
      `${path}: no column of ticks is called ${unknown.join(', ')}; known are ${known.join(', ')}`,
    );
  const twice = columns.filter((column, at) => column !== null && columns.indexOf(column) !== at);
  if (twice.length > 0) throw new ImportFileError(`${path}: ${twice.join(', ')} is there twice`);
  const missing = (['provider', 'symbol', 'ts', 'price'] as const).filter(
    (column) => !columns.includes(column) && given[column] === undefined,
  );
  if (missing.length > 0)
    throw new ImportFileError(
      `${path}: it has no column ${missing.join(', ')} (--provider and --symbol may stand for columns)`,
    );
  return columns;
}
