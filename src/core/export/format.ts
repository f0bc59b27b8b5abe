export type FileFormat = 'csv' | 'parquet';
export type Compression = 'none' | 'gzip' | 'zstd';

export interface FileForm {
  readonly format: FileFormat;
  /** of the file as a whole; parquet compresses its own pages */
  readonly compression: Compression;
}

/** The names that --format takes. */
export const FORMS = ['csv', 'csv.gz', 'csv.zst', 'parquet'] as const;
export type FormName = (typeof FORMS)[number];

const FORM_OF: Readonly<Record<FormName, FileForm>> = {
  csv: { format: 'csv', compression: 'none' },
  'csv.gz': { format: 'csv', compression: 'gzip' },
  'csv.zst': { format: 'csv', compression: 'zstd' },
  parquet: { format: 'parquet', compression: 'none' },
};

/** Endings of names, by form; the first one is ours. */
const ENDINGS: readonly (readonly [string, FormName])[] = [
  ['.csv.gz', 'csv.gz'],
  ['.csv.zst', 'csv.zst'],
  ['.csv.zstd', 'csv.zst'],
  ['.csv', 'csv'],
  ['.parquet', 'parquet'],
  ['.pq', 'parquet'],
];

export function formOf(name: FormName): FileForm {
  return FORM_OF[name];
}

/** The form that the ending of a name says, whatever its case; null: none. */
export function formByName(name: string): FormName | null {
  const lower = name.toLowerCase();
  return ENDINGS.find(([ending]) => lower.endsWith(ending))?.[1] ?? null;
}

/** A name in two: what comes before its ending, and the ending. Without a known ending the last dot counts. */
export function splitEnding(name: string): [string, string] {
  const known = ENDINGS.find(([ending]) => name.toLowerCase().endsWith(ending))?.[0];
  const at = known === undefined ? name.lastIndexOf('.') : name.length - known.length;
  return at <= 0 ? [name, ''] : [name.slice(0, at), name.slice(at)];
}
