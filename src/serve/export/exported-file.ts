import { createHash } from 'node:crypto';
import type { FormName } from '../../core/export/format.ts';
import { formOf } from '../../core/export/format.ts';
import { TimeRange, type ExportedFile } from '../../core/export/manifest.ts';
import type { Batch } from '../../core/table/batch.ts';
import type { Column } from '../../core/table/column.ts';
import type { Micros } from '../../core/time.ts';
import { CsvWriter } from './encode/csv.ts';
import { ParquetWriter } from './encode/parquet/writer.ts';
import type { RowWriter } from './encode/row-writer.ts';
import type { ExportTarget, TargetFile } from './targets/target.ts';

export interface FileOptions {
  columns: readonly Column[];
  form: FormName;
  isForSpreadsheets: boolean;
}

/** A file of an export on its way: rows in, and its digest, size and range of times at the end. */
export class FileOfExport {
  readonly #file: TargetFile;
  readonly #rows: RowWriter;
  readonly #hash = createHash('sha256');
  readonly #times = new TimeRange();
  readonly name: string;
  #count = 0;
  #bytes = 0;

  private constructor(name: string, file: TargetFile, options: FileOptions) {
    const { columns, form, isForSpreadsheets } = options;
    this.name = name;
    this.#file = file;
    const { format, compression } = formOf(form);
    const sink = (chunk: Uint8Array): Promise<void> => this.#put(chunk);
    this.#rows =
      format === 'parquet'
        ? new ParquetWriter(columns, sink)
        : new CsvWriter({ columns, compression, isForSpreadsheets }, sink);
  }

  /** Rejects with TargetError. */
  static async create(target: ExportTarget, name: string, options: FileOptions): Promise<FileOfExport> {
    return new FileOfExport(name, await target.create(name), options);
  }

  /** @param from the time of the first row; @param to of the last one, µs since 1970 */
  async write(batch: Batch, from: Micros, to: Micros): Promise<void> {
    this.#count += batch.rows;
    this.#times.add(from, to);
    await this.#rows.write(batch);
  }

  /** It is whole, and not yet seen. */
  async finish(): Promise<ExportedFile> {
    await this.#rows.finish();
    await this.#file.finish();
    return {
      path: this.name,
      rows: this.#count,
      bytes: this.#bytes,
      sha256: this.#hash.digest('hex'),
      ...this.#times.text,
    };
  }

  publish(): Promise<void> {
    return this.#file.publish();
  }

  /** Nothing is left of it. */
  async discard(): Promise<void> {
    await this.#rows.close();
    await this.#file.discard();
  }

  close(): Promise<void> {
    return this.#rows.close();
  }

  async #put(chunk: Uint8Array): Promise<void> {
    this.#hash.update(chunk);
    this.#bytes += chunk.length;
    await this.#file.write(chunk);
  }
}
