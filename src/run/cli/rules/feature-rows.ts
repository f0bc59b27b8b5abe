/** Rows of features from a file, as `mdp export features` writes them: CSV with a header, or a JSON object a line. */
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { parseIsoMicros } from '../../../core/time.ts';
import type { RuleRow } from '../../../stream/inference/rules/rule-set.ts';

const LINE_CHARS_MAX = 1_000_000;

export interface FeatureRow extends RuleRow {
  /** '' for live ones */
  runId: string;
  provider: string;
  symbol: string;
  tsUs: bigint;
}

/** What is wrong with the input, as one line that names the place. */
export class InputError extends Error {
  override name = 'InputError';
}

export interface FeatureRowsOptions {
  /** a path; `.gz` and `.zst` are decompressed */
  file: string;
  /** names of what `values` of a row holds, in that order; NaN where a row has none */
  features: readonly string[];
  /** those that the input must have */
  needed: readonly string[];
}

type Record = (name: string) => unknown;

/** @throws InputError */
export async function* readFeatureRows(options: FeatureRowsOptions): AsyncGenerator<FeatureRow> {
  const { file, features } = options;
  if (/\.(parquet|arrow)$/i.test(file)) throw new InputError(`${file}: only CSV and NDJSON are read`);
  let number = 0;
  let header: ReadonlyMap<string, number> | null = null;
  let isJson: boolean | null = null;
  try {
    for await (const text of createInterface({ input: contentOf(file), crlfDelay: Infinity })) {
      number += 1;
      const line = number === 1 ? text.replace(/^\uFEFF/, '') : text;
      if (line.trim() === '') continue;
      if (line.length > LINE_CHARS_MAX) throw new RangeError(`has more than ${LINE_CHARS_MAX} characters`);
      isJson ??= line.trimStart().startsWith('{');
      if (!isJson && header === null) {
        header = headerOf(line, options);
        continue;
      }
      const record = isJson ? jsonRecord(line) : csvRecord(line, header ?? new Map<string, number>());
      yield rowOf(record, features);
    }
  } catch (error) {
    if (error instanceof InputError) throw error;
    if (error instanceof RangeError) throw new InputError(`${file}:${number}: ${error.message}`);
    const { code, message } = error as NodeJS.ErrnoException;
    throw new InputError(`${file} cannot be read (${code ?? message})`);
  }
  if (isJson === null) throw new InputError(`${file} is empty`);
}

function contentOf(file: string): Readable {
  const bytes = createReadStream(file);
  const decompress = /\.gz$/i.test(file)
    ? createGunzip()
    : /\.zst$/i.test(file)
      ? createZstdDecompress()
      : null;
  if (decompress === null) return bytes;
  bytes.on('error', (error) => decompress.destroy(error));
  return bytes.pipe(decompress);
}

function headerOf(line: string, { needed }: FeatureRowsOptions): ReadonlyMap<string, number> {
  const columns = new Map(csvFields(line).map((name, at) => [name, at]));
  const missing = ['provider', 'symbol', 'ts', 'price', ...needed].filter((name) => !columns.has(name));
  if (missing.length > 0) {
    throw new RangeError(
      `the header lacks ${missing.join(', ')}: expected provider, symbol, ts, price and the features that the rules name`,
    );
  }
  return columns;
}

function csvRecord(line: string, columns: ReadonlyMap<string, number>): Record {
  const fields = csvFields(line);
  if (fields.length !== columns.size)
    throw new RangeError(`has ${fields.length} fields, and the header ${columns.size}`);
  return (name) => {
    const at = columns.get(name);
    return at === undefined ? undefined : fields[at];
  };
}

function jsonRecord(line: string): Record {
  let value: unknown = null;
  try {
    value = JSON.parse(line);
  } catch {
    // told below
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new RangeError('is no JSON object');
  const fields = new Map<string, unknown>(Object.entries(value));
  return (name) => fields.get(name);
}

/** One line: fields of ours hold no line break. @throws RangeError */
function csvFields(line: string): string[] {
  const fields: string[] = [];
  const field = /(?:"((?:[^"]|"")*)"|([^",]*))(,|$)/y;
  for (;;) {
    const match = field.exec(line);
    if (match === null)
      throw new RangeError('a quote is not closed, or stands inside a field without quotes');
    fields.push(match[1]?.replaceAll('""', '"') ?? match[2] ?? '');
    if (match[3] === '') return fields;
  }
}

function rowOf(record: Record, features: readonly string[]): FeatureRow {
  const price = numberOf('price', record('price'));
  if (Number.isNaN(price)) throw new RangeError('has no price');
  const values = new Float64Array(features.length);
  for (const [at, name] of features.entries()) values[at] = numberOf(name, record(name));
  const run = record('replay_run_id') ?? record('run_id') ?? '';
  return {
    runId: typeof run === 'number' ? String(run) : typeof run === 'string' ? run : '',
    provider: textOf('provider', record('provider')),
    symbol: textOf('symbol', record('symbol')),
    tsUs: timeOf(textOf('ts', record('ts'))),
    price,
    values,
  };
}

function textOf(name: string, value: unknown): string {
  if (typeof value !== 'string' || value === '') throw new RangeError(`has no ${name}`);
  return value;
}

function timeOf(text: string): bigint {
  try {
    return parseIsoMicros(text);
  } catch (error) {
    throw new RangeError(`ts is ${(error as Error).message}`);
  }
}

/** NaN for what is absent. @throws RangeError */
function numberOf(name: string, value: unknown): number {
  if (value === undefined || value === null) return Number.NaN;
  if (typeof value === 'number') return value;
  if (typeof value === 'string') {
    const text = value.trim();
    if (text === '' || /^(null|nan)$/i.test(text)) return Number.NaN;
    const number = Number(text);
    if (Number.isFinite(number) && /^[-+.\d]/.test(text) && !/^[-+]?0[xob]/i.test(text)) return number;
  }
  throw new RangeError(`${name} is no number: ${JSON.stringify(value)?.slice(0, 80)}`);
}
