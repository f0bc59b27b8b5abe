import { stat } from 'node:fs/promises';
import { basename, dirname, resolve, sep } from 'node:path';
import { formByName, formOf, type FormName } from '../../core/export/format.ts';
import {
  IMPORT_COLUMNS,
  tickRowOf,
  type ImportColumn,
  type ImportValues,
} from '../../core/import/tick-row.ts';
import type { TickDataRow } from '../../core/copy/tick-data.ts';
import type { Providers } from '../../core/market/identity/providers.ts';
import type { Clock, Micros } from '../../core/time.ts';
import type { StoreClient } from '../../store/store-client.ts';
import { FileRun } from '../export/file-run.ts';
import { csvSource } from './csv-source.ts';
import { parquetSource } from './parquet-source.ts';
import { columnsOf, ImportFileError, type RowSource, type SourceRow } from './source.ts';

/** A row that was not stored. */
export interface BadRow {
  file: string;
  line: number;
  /** null: the row as a whole */
  column: ImportColumn | null;
  cause: string;
}

export interface ImportOptions {
  store: StoreClient;
  providers: Providers;
  clock: Clock;
  path: string;
  /** null: by the name's ending */
  form: FormName | null;
  /** for files without these columns */
  given: { provider?: string; symbol?: string };
  /** begins anew although a run of this file was interrupted */
  anew: boolean;
  /** more bad rows end the import */
  badMax: number;
  onBad: (bad: BadRow) => void;
  onProgress?: (rows: number, at: Micros | null) => void;
  stopping?: AbortSignal;
}

export interface ImportReport {
  runId: number;
  resumed: boolean;
  /** rows of the file that were read, by all of its runs */
  rows: number;
  stored: number;
  /** that were there with the same content */
  known: number;
  bad: number;
}

/** More rows are bad than may be: the file is rather another one than was meant. */
export class TooManyBadRows extends Error {
  override name = 'TooManyBadRows';
}

/** How often the position is stored: a run that is interrupted reads so much again, and stores nothing twice. */
const POSITION_EVERY_MS = 1000;

/** Columns that exports have, and tick_data gives by itself. */
const IGNORED = ['created_at', 'day'];

/**
 * Stores the ticks of a CSV or Parquet file, each once. Its run is a row of job_runs (tick_import); the same file goes on where
 * its last run was interrupted. Rejects with ImportFileError, TooManyBadRows, CancelledError or the server's error.
 */
export async function importTicks(options: ImportOptions): Promise<ImportReport> {
  const { store, path, clock, anew, stopping, onProgress } = options;
  const file = await fileOf(path);
  const before = anew ? null : await store.jobRuns.unfinished('tick_import', file.key);
  const start = {
    jobName: 'tick_import' as const,
    provider: options.given.provider ?? null,
    symbols: null,
    metadata: { key: file.key, input: file.path, bytes: file.bytes },
    clock,
    ...(stopping === undefined ? {} : { stopping }),
    ...(onProgress === undefined ? {} : { onProgress }),
  };
  const run = await FileRun.start(store.jobRuns, start, before?.id ?? null);
  const done = positionOf(before?.metadata);
  return run.around(() => new Importer(options, run, file.path).import(done, before !== null));
}

interface Position {
  /** rows of the file that are done */
  rows: number;
  stored: number;
  known: number;
  bad: number;
}

function positionOf(metadata: Readonly<Record<string, unknown>> | undefined): Position {
  const count = (name: string): number => Number(metadata?.[name] ?? 0);
  return { rows: count('rows_read'), stored: count('stored'), known: count('known'), bad: count('bad') };
}

class Importer {
  readonly #options: ImportOptions;
  readonly #run: FileRun;
  readonly #path: string;
  #notedMs: number;

  constructor(options: ImportOptions, run: FileRun, path: string) {
    this.#options = options;
    this.#run = run;
    this.#path = path;
    this.#notedMs = options.clock.monotonicMs();
  }

  async import(position: Position, resumed: boolean): Promise<ImportReport> {
    const done = { ...position };
    this.#run.resumeAt(done.stored);
    const given = { ...this.#options.given, ...folderValues(this.#path) };
    let seen = 0;
    for await (const rows of this.#source(given)) {
      const skipped = Math.min(rows.length, Math.max(0, position.rows - seen));
      seen += rows.length;
      this.#run.check();
      if (skipped === rows.length) continue;
      await this.#store(rows.slice(skipped), given, done);
      done.rows = seen;
      await this.#note(done, false);
    }
    await this.#note(done, true);
    return { runId: this.#run.id, resumed, ...done };
  }

  async #store(rows: readonly SourceRow[], given: ImportValues, done: Position): Promise<void> {
    const { store, providers } = this.#options;
    const good: TickDataRow[] = [];
    const lines: number[] = [];
    for (const { line, values, problem } of rows) {
      if (problem !== null) {
        this.#bad({ line, column: null, cause: problem }, done);
        continue;
      }
      const row = tickRowOf({ ...given, ...values }, providers);
      if ('cause' in row) {
        this.#bad({ line, ...row }, done);
        continue;
      }
      good.push(row);
      lines.push(line);
    }
    if (good.length === 0) return;
    const { stored, known, conflicts } = await store.writeTicks(good);
    done.stored += stored;
    done.known += known;
    for (const at of conflicts)
      this.#bad(
        {
          line: lines[at],
          column: null,
          cause: 'a tick of this time and seq is stored with another content',
        },
        done,
      );
    let [from, to] = [good[0].srcTs, good[0].srcTs];
    for (const { srcTs } of good) {
      if (srcTs < from) from = srcTs;
      if (srcTs > to) to = srcTs;
    }
    this.#run.took(stored, from, to);
  }

  #bad(bad: Omit<BadRow, 'file'>, done: Position): void {
    done.bad += 1;
    this.#options.onBad({ file: this.#path, ...bad });
    if (done.bad > this.#options.badMax)
      throw new TooManyBadRows(
        `${this.#path}: more than ${this.#options.badMax} bad rows: the rest was not read`,
      );
  }

  async #note({ rows, stored, known, bad }: Position, isLast: boolean): Promise<void> {
    const now = this.#options.clock.monotonicMs();
    if (!isLast && now - this.#notedMs < POSITION_EVERY_MS) return;
    this.#notedMs = now;
    await this.#run.note({ rows_read: rows, stored, known, bad });
  }

  #source(given: ImportValues): RowSource {
    const path = this.#path;
    const form = this.#options.form ?? formByName(path);
    if (form === null)
      throw new ImportFileError(
        `${path}: its ending names no format: .csv, .csv.gz, .csv.zst, .parquet, or --format`,
      );
    const columns = (names: readonly string[]): (ImportColumn | null)[] =>
      columnsOf(path, names, IMPORT_COLUMNS, IGNORED, given);
    const { format, compression } = formOf(form);
    return format === 'parquet' ? parquetSource(path, columns) : csvSource(path, compression, columns);
  }
}

interface ImportedFile {
  path: string;
  bytes: number;
  /** another content has another one */
  key: string;
}

async function fileOf(given: string): Promise<ImportedFile> {
  const path = resolve(given);
  try {
    const found = await stat(path);
    if (!found.isFile()) throw new ImportFileError(`${path} is no file`);
    return { path, bytes: found.size, key: `${path}|${found.size}|${found.mtimeMs}` };
  } catch (error) {
    if (error instanceof ImportFileError) throw error;
    throw new ImportFileError(`${path}: ${(error as Error).message}`, { cause: error });
  }
}

/** What the names of folders hold, as in symbol=NVDA. */
function folderValues(path: string): { symbol?: string } {
  const names = dirname(path).split(sep);
  const found = [...names, basename(path)].findLast((name) => name.startsWith('symbol='));
  return found === undefined ? {} : { symbol: decodeURIComponent(found.slice('symbol='.length)) };
}
