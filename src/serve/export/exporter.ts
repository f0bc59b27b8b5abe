import { dataName, manifestName, type Layout, type PartitionOf } from '../../core/export/layout.ts';
import {
  manifestRequest,
  manifestText,
  rangeOfFiles,
  schemaOf,
  type ExportedFile,
  type Manifest,
} from '../../core/export/manifest.ts';
import type { ExportRequest, Visibility } from '../../core/export/request.ts';
import { Batch } from '../../core/table/batch.ts';
import type { Column } from '../../core/table/column.ts';
import { formatMicros, wallMs, type Clock, type Micros } from '../../core/time.ts';
import type { JobRunTracker } from '../../store/job-runs.ts';
import { exportColumns, timeColumn } from '../../store/export/columns.ts';
import type { Slice } from '../../store/export/rows.ts';
import { SnapshotReader } from '../../store/export/snapshot-reader.ts';
import { ExportError } from './export-error.ts';
import { FileOfExport } from './exported-file.ts';
import { FileRun } from './file-run.ts';
import { lastPart, readPart, removeParts, type LastPart } from './parts.ts';
import { daysOf, partitionsOf } from './slices.ts';
import { TargetError, type ExportTarget } from './targets/target.ts';
import { refuseDifferent, visibilityOf } from './visibility.ts';

export interface ExportOptions {
  /** READ_DATABASE_URL, or DATABASE_URL */
  databaseUrl: string;
  applicationName: string;
  jobRuns: JobRunTracker;
  clock: Clock;
  request: ExportRequest;
  target: ExportTarget;
  layout: Layout;
  isForSpreadsheets: boolean;
  /** only what came since the last part; without one, everything */
  isIncremental: boolean;
  /** the state of a manifest, or of a time (µs since 1970); null: of now */
  asOf: Manifest | Micros | null;
  /** the first and the last time of a row, µs since 1970, [from, to) */
  onExtent?: (from: Micros, to: Micros) => void;
  /** about once a second: rows so far, and the time of the last one */
  onProgress?: (rows: number, at: Micros | null) => void;
  /** the number of the run, once it has one */
  onRun?: (id: number) => void;
  /** gives up; the run is cancelled */
  stopping?: AbortSignal;
}

export interface ExportReport {
  runId: number;
  /** null: nothing came since the last part, and no file was written */
  manifest: Manifest | null;
  /** of the manifest */
  address: string | null;
  rows: number;
}

/** unknown symbols that are named */
const SHOWN_MAX = 20;

/**
 * One export: rows of one snapshot into files that are written aside, published together, and described by a manifest which is
 * published last. Its run is a row of job_runs (tick_export).
 *
 * Rejects with ExportError, ManifestError, TargetError, CancelledError, ConnectError or the server's error; nothing is published
 * then.
 */
export async function runExport(options: ExportOptions): Promise<ExportReport> {
  const { jobRuns, request, target, layout, clock, stopping, onProgress } = options;
  const run = await FileRun.start(jobRuns, {
    jobName: 'tick_export',
    provider: request.provider,
    symbols: request.symbols,
    metadata: { ...manifestRequest(request), format: layout.form, output: target.address(layout.name ?? '') },
    clock,
    ...(stopping === undefined ? {} : { stopping }),
    ...(onProgress === undefined ? {} : { onProgress }),
  });
  options.onRun?.(run.id);
  return run.around((signal) => new Exporter(options, run).export(signal));
}

class Exporter {
  readonly #options: ExportOptions;
  readonly #run: FileRun;
  readonly #files: FileOfExport[] = [];
  readonly #done: ExportedFile[] = [];

  constructor(options: ExportOptions, run: FileRun) {
    this.#options = options;
    this.#run = run;
  }

  async export(signal: AbortSignal): Promise<ExportReport> {
    const { databaseUrl, applicationName } = this.#options;
    const reader = await SnapshotReader.open(databaseUrl, applicationName);
    const abort = (): void => reader.abort();
    signal.addEventListener('abort', abort, { once: true });
    try {
      this.#run.check();
      return await this.#exportFrom(reader);
    } catch (error) {
      await Promise.all(this.#files.map((file) => file.discard()));
      throw error;
    } finally {
      signal.removeEventListener('abort', abort);
      await Promise.all(this.#files.map((file) => file.close()));
      await reader.close();
    }
  }

  async #exportFrom(reader: SnapshotReader): Promise<ExportReport> {
    const { target, layout, isIncremental, request, asOf } = this.#options;
    const last = await this.#lastPart();
    if (last === null && layout.name === null && (await target.hasOthers()))
      throw new ExportError(
        'not_empty',
        `${target.address('')} holds files that are not of an export: name another folder`,
      );
    const before = isIncremental ? last : null;
    const part = before === null ? 0 : before.part + 1;
    const wanted = { request, layout, asOf, before: before?.manifest ?? null };
    const visibility = await visibilityOf(reader, wanted);
    await this.#writeFiles(reader, visibility, part);
    const runId = this.#run.id;
    const rows = this.#done.reduce((sum, file) => sum + file.rows, 0);
    if (before !== null && rows === 0) {
      await Promise.all(this.#files.map((file) => file.discard()));
      return { runId, manifest: null, address: null, rows };
    }
    const manifest = this.#manifest(reader, { part, visibility, before: wanted.before });
    if (asOf !== null && typeof asOf !== 'bigint') refuseDifferent(manifest, asOf);
    this.#run.check();
    await this.#publish(manifest, isIncremental ? null : last);
    const address = target.address(manifestName(layout, part));
    const sha256 = manifest.files.length === 1 ? manifest.files[0].sha256 : null;
    await this.#run.note({ manifest: address, sha256 });
    return { runId, manifest, address, rows };
  }

  async #lastPart(): Promise<LastPart | null> {
    const { target, layout, isIncremental } = this.#options;
    try {
      return await lastPart(target, layout);
    } catch (error) {
      // whoever may only write does not replace parts
      if (!isIncremental && error instanceof TargetError && error.kind === 'denied') return null;
      throw error;
    }
  }

  /** In order; null: of the chain. */
  async #symbols(reader: SnapshotReader): Promise<readonly string[] | null> {
    const { request } = this.#options;
    const { provider, symbols } = request;
    if (provider === null) return null;
    if (symbols === null) {
      const found = await reader.symbols(request);
      if (found.length === 0)
        throw new ExportError(
          'unknown_symbol',
          `there are no ${request.dataset} of the provider ${provider}`,
        );
      return found;
    }
    const unknown = await reader.unknownSymbols(request);
    if (unknown.length === 0) return symbols;
    const more = unknown.length > SHOWN_MAX ? ', …' : '';
    throw new ExportError(
      'unknown_symbol',
      `nothing is known of ${unknown.slice(0, SHOWN_MAX).join(', ')}${more} of the provider ${provider}`,
    );
  }

  async #writeFiles(reader: SnapshotReader, visibility: Visibility, part: number): Promise<void> {
    const { request, layout } = this.#options;
    const symbols = await this.#symbols(reader);
    const all: Slice = { symbols, from: request.start, to: request.end };
    const first = await reader.time(request, all, 'first');
    const last = await reader.time(request, all, 'last');
    const range = { symbols, from: first ?? request.start, to: (last ?? request.start - 1n) + 1n };
    this.#options.onExtent?.(range.from, range.to);
    const batches = (slices: AsyncIterable<Slice>): AsyncGenerator<Batch, void, undefined> =>
      rowsOf(reader, request, visibility, slices);
    if (layout.name !== null) {
      const file = await this.#create(part, { day: null, symbol: null });
      for await (const batch of batches(daysOf(reader, request, range))) await this.#take(batch, file);
      this.#done.push(await file.finish());
      return;
    }
    for await (const { of, slices } of partitionsOf(reader, request, range, layout.partitionBy)) {
      let file: FileOfExport | null = null;
      for await (const batch of batches(slices)) {
        file ??= await this.#create(part, of);
        await this.#take(batch, file);
      }
      if (file === null) continue;
      this.#done.push(await file.finish());
      await file.close();
    }
  }

  async #take(batch: Batch, file: FileOfExport): Promise<void> {
    const at = batch.indexOf(timeColumn(this.#options.request));
    const [from, to] = [batch.value(at, 0), batch.value(at, batch.rows - 1)] as [Micros, Micros];
    const { rows } = batch;
    await file.write(without(batch, this.#options.layout.partitionBy), from, to);
    this.#run.took(rows, from, to);
  }

  async #create(part: number, of: PartitionOf): Promise<FileOfExport> {
    const { target, layout, isForSpreadsheets } = this.#options;
    const options = { columns: this.#columns, form: layout.form, isForSpreadsheets };
    const file = await FileOfExport.create(target, dataName(layout, part, of), options);
    this.#files.push(file);
    return file;
  }

  /** Of the files: without those that are in the names of folders. */
  get #columns(): readonly Column[] {
    const { request, layout } = this.#options;
    return exportColumns(request).filter(({ name }) => !layout.partitionBy.some((key) => key === name));
  }

  #manifest(
    reader: SnapshotReader,
    { part, visibility, before }: { part: number; visibility: Visibility; before: Manifest | null },
  ): Manifest {
    const { request, layout, isForSpreadsheets, clock, asOf } = this.#options;
    const state = visibility.asOf ?? { snapshot: reader.info.snapshot };
    return {
      manifest: 'tick-ingester export',
      version: 1,
      request: manifestRequest(request),
      format: layout.form,
      options: { excel_safe: isForSpreadsheets, partition_by: [...layout.partitionBy] },
      part,
      rows: this.#done.reduce((sum, { rows }) => sum + rows, 0),
      ...rangeOfFiles(this.#done),
      files: this.#done,
      schema: schemaOf(this.#columns),
      snapshot: 'snapshot' in state ? state.snapshot : null,
      as_of: typeof asOf === 'bigint' ? formatMicros(asOf) : null,
      since: before?.snapshot ?? null,
      system_identifier: reader.info.systemIdentifier,
      run_id: this.#run.id,
      created_at: formatMicros(BigInt(Math.round(wallMs(clock) * 1000))),
    };
  }

  /** @param replaced the last part of what the export replaces; null: it goes on, or replaces nothing */
  async #publish(manifest: Manifest, replaced: LastPart | null): Promise<void> {
    const { target, layout } = this.#options;
    const file = await target.create(manifestName(layout, manifest.part));
    try {
      await file.write(Buffer.from(manifestText(manifest)));
      await file.finish();
      const first = replaced === null ? null : await readPart(target, layout, 0);
      if (replaced !== null) await removeParts(target, layout, 1, replaced.part);
      for (const each of this.#files) await each.publish();
      await file.publish();
      const names = new Set(manifest.files.map(({ path }) => path));
      for (const { path } of first?.files ?? []) if (!names.has(path)) await target.remove(path);
    } catch (error) {
      await file.discard();
      throw error;
    }
  }
}

async function* rowsOf(
  reader: SnapshotReader,
  request: ExportRequest,
  visibility: Visibility,
  slices: AsyncIterable<Slice>,
): AsyncGenerator<Batch, void, undefined> {
  for await (const slice of slices)
    for await (const batch of reader.rows(request, visibility, slice)) if (batch.rows > 0) yield batch;
}

/** Columns that the names of folders hold are not in the files. */
function without(batch: Batch, names: readonly string[]): Batch {
  const kept = batch.columns.flatMap(({ name }, at) => (names.includes(name) ? [] : [at]));
  if (kept.length === batch.columns.length) return batch;
  const pick = <T>(list: readonly T[]): T[] => kept.map((at) => list[at]);
  return new Batch(pick(batch.columns), batch.rows, pick(batch.data));
}
