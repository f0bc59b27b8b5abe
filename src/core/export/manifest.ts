import type { Column } from '../table/column.ts';
import { formatMicros, parseIsoMicros, type Micros } from '../time.ts';
import type { EarlierExport, ExportRequest } from './request.ts';

/** A file of an export. */
export interface ExportedFile {
  /** below the export's folder, with / */
  path: string;
  rows: number;
  bytes: number;
  /** of its bytes, hex */
  sha256: string;
  min_ts: string | null;
  max_ts: string | null;
}

/** What an export wrote and from which state of the database: a JSON file beside it. Times are ISO-8601 in UTC. */
export interface Manifest {
  manifest: 'tick-ingester export';
  version: 1;
  request: ManifestRequest;
  format: string;
  options: { excel_safe: boolean; partition_by: string[] };
  /** 0 of the first one; each further one has what came since */
  part: number;
  rows: number;
  min_ts: string | null;
  max_ts: string | null;
  files: ExportedFile[];
  schema: { name: string; type: string }[];
  /** pg_snapshot: what was visible. Null: the export was as of a time */
  snapshot: string | null;
  /** the time of --as-of */
  as_of: string | null;
  /** the snapshot of the manifest before, whose rows are left out */
  since: string | null;
  /** of the cluster that numbered the snapshot's transactions */
  system_identifier: string;
  run_id: number;
  created_at: string;
}

interface ManifestRequest {
  dataset: string;
  provider: string | null;
  symbols: string[] | null;
  start: string;
  end: string;
  intervals: string[];
  run: string;
  table: string | null;
}

/** A text that is no manifest of ours. */
export class ManifestError extends Error {
  override name = 'ManifestError';
}

export function manifestText(manifest: Manifest): string {
  return `${JSON.stringify(manifest, null, 2)}\n`;
}

/** @throws ManifestError */
export function parseManifest(text: string, name: string): Manifest {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ManifestError(`${name} is not JSON`);
  }
  const manifest = value as Partial<Manifest> | null;
  if (manifest?.manifest !== 'tick-ingester export')
    throw new ManifestError(`${name} is not a manifest of mdp export`);
  if (manifest.version !== 1)
    throw new ManifestError(`${name} is of version ${String(manifest.version)}; known is 1`);
  const isWhole =
    typeof manifest.system_identifier === 'string' &&
    (typeof manifest.snapshot === 'string' ? SNAPSHOT.test(manifest.snapshot) : manifest.snapshot === null) &&
    typeof manifest.rows === 'number' &&
    Array.isArray(manifest.files) &&
    typeof manifest.request === 'object' &&
    typeof manifest.options === 'object';
  if (!isWhole) throw new ManifestError(`${name} is not whole`);
  return manifest as Manifest;
}

/** xmin:xmax:xip,… */
const SNAPSHOT = /^\d{1,20}:\d{1,20}:(?:\d{1,20}(?:,\d{1,20})*)?$/;

export function manifestRequest(request: ExportRequest): ManifestRequest {
  const { dataset, provider, symbols, start, end, intervals, run, table } = request;
  return {
    dataset,
    provider,
    symbols: symbols === null ? null : [...symbols],
    start: formatMicros(start),
    end: formatMicros(end),
    intervals: [...intervals],
    run: run.toString(),
    table: dataset === 'chain' ? table : null,
  };
}

/** Why an export cannot go on from this one; null: it can. Its range may be wider. */
export function cannotFollow(
  before: Manifest,
  next: ExportRequest,
  format: string,
  partitionBy: readonly string[],
): string | null {
  const { start, end, ...last } = before.request;
  const { start: _start, end: _end, ...now } = manifestRequest(next);
  if (JSON.stringify(last) !== JSON.stringify(now))
    return `it is of ${JSON.stringify(last)}, this one of ${JSON.stringify(now)}`;
  if (next.start > parseIsoMicros(start) || next.end < parseIsoMicros(end))
    return `its range ${start} to ${end} is not within this one`;
  if (before.format !== format) return `its format is ${before.format}`;
  if (before.options.partition_by.join() !== partitionBy.join()) return 'it is partitioned in another way';
  return before.snapshot === null ? 'it is as of a time, and has no snapshot' : null;
}

/** What further exports leave out. */
export function earlierOf({ snapshot, request }: Manifest): EarlierExport {
  if (snapshot === null) throw new ManifestError('the manifest has no snapshot');
  return { snapshot, start: parseIsoMicros(request.start), end: parseIsoMicros(request.end) };
}

export function schemaOf(columns: readonly Column[]): Manifest['schema'] {
  return columns.map(({ name, type }) => ({ name, type: TYPE_NAMES[type] }));
}

const TYPE_NAMES: Readonly<Record<Column['type'], string>> = {
  text: 'string',
  float64: 'double',
  int64: 'int64',
  count: 'int64',
  uint64: 'uint64',
  int16: 'int16',
  timestamp: 'timestamp[us, UTC]',
  decimal: 'string',
  bool: 'bool',
  json: 'string (JSON)',
  hex: 'string (hex)',
};

/** The least and the greatest of some times, null where there is none. */
export class TimeRange {
  min: Micros | null = null;
  max: Micros | null = null;

  add(from: Micros, to: Micros): void {
    if (this.min === null || from < this.min) this.min = from;
    if (this.max === null || to > this.max) this.max = to;
  }

  get text(): { min_ts: string | null; max_ts: string | null } {
    return {
      min_ts: this.min === null ? null : formatMicros(this.min),
      max_ts: this.max === null ? null : formatMicros(this.max),
    };
  }
}

/** From the earliest to the latest time of some files. */
export function rangeOfFiles(files: readonly ExportedFile[]): {
  min_ts: string | null;
  max_ts: string | null;
} {
  // ISO-8601 of one form: they compare as texts
  const mins = files.flatMap(({ min_ts: min }) => (min === null ? [] : [min])).sort();
  const maxs = files.flatMap(({ max_ts: max }) => (max === null ? [] : [max])).sort();
  return { min_ts: mins[0] ?? null, max_ts: maxs.at(-1) ?? null };
}
