/** Rows of features with what followed, from the CSV that `mdp export features --label` writes. */
import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { createInterface } from 'node:readline';
import { createGunzip, createZstdDecompress } from 'node:zlib';

export interface LabelledRow {
  /** by the wanted columns; NaN: empty, or no number */
  values: Float64Array;
  label: number;
}

/** The file cannot be used: one line. */
export class RowsError extends Error {
  override name = 'RowsError';
}

/**
 * @param columns names in the header, in the order of `values`
 * @throws RowsError
 */
export async function* labelledRows(
  path: string,
  columns: readonly string[],
  label: string,
): AsyncGenerator<LabelledRow> {
  const file = createReadStream(path);
  const decompress = /\.gz$/i.test(path)
    ? createGunzip()
    : /\.zst$/i.test(path)
      ? createZstdDecompress()
      : null;
  const input: Readable = decompress === null ? file : file.pipe(decompress);
  file.on('error', (error: Error) => input.destroy(error));
  const lines = createInterface({ input, crlfDelay: Infinity });
  // readline says nothing of an error of its input
  let failure: NodeJS.ErrnoException | null = null;
  input.on('error', (error: NodeJS.ErrnoException) => {
    failure = error;
    lines.close();
  });
  let places: number[] | null = null;
  for await (const line of lines) {
    const cells = cellsOf(line);
    if (places === null) {
      places = placesOf(path, cells, [...columns, label]);
      continue;
    }
    if (line === '') continue;
    const numbers = Float64Array.from(places, (at) => numberOf(cells[at] ?? ''));
    yield { values: numbers.subarray(0, -1), label: numbers[columns.length] };
  }
  const { code, message } = (failure ?? {}) as { code?: string; message?: string };
  if (message !== undefined) throw new RowsError(`${path} cannot be read (${code ?? message})`);
  if (places === null) throw new RowsError(`${path} is empty`);
}

function placesOf(path: string, header: readonly string[], wanted: readonly string[]): number[] {
  const names = header.map((name) => name.replace(/^\ufeff/, ''));
  const missing = wanted.filter((name) => !names.includes(name));
  if (missing.length > 0)
    throw new RowsError(`${path} lacks ${missing.join(', ')} (it has ${names.join(', ')})`);
  return wanted.map((name) => names.indexOf(name));
}

/** RFC 4180 within one line */
function cellsOf(line: string): string[] {
  if (!line.includes('"')) return line.split(',');
  return [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(
    ([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain ?? '',
  );
}

function numberOf(text: string): number {
  return text.trim() === '' ? Number.NaN : Number(text);
}
