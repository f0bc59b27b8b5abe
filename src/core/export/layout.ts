import { formatMicros, type Micros } from '../time.ts';
import { splitEnding, type FormName } from './format.ts';

/** What a dataset is split by, outermost first. */
export const PARTITION_KEYS = ['day', 'symbol'] as const;
export type PartitionKey = (typeof PARTITION_KEYS)[number];

/** Which rows one file of a partitioned export has. */
export interface PartitionOf {
  /** the start of its UTC day, µs since 1970; null: not split by day */
  readonly day: Micros | null;
  /** null: not split by symbol */
  readonly symbol: string | null;
}

/**
 * The names of the files of an export, below its folder.
 *
 *   one file:      NAME.csv, then NAME.part-0001.csv, … ; NAME.csv.manifest.json beside each
 *   partitioned:   day=2025-11-03/symbol=NVDA/part-0000.parquet, then part-0001.parquet, … ; _manifest-0000.json
 *
 * Names that begin with _ or . are passed over by Spark, pyarrow and pandas.
 */
export interface Layout {
  /** the name of a single file; null: partitioned */
  readonly name: string | null;
  readonly form: FormName;
  readonly partitionBy: readonly PartitionKey[];
}

export function dataName(layout: Layout, part: number, of: PartitionOf): string {
  if (layout.name !== null) return partName(layout.name, part);
  const folders = layout.partitionBy.map((key) =>
    key === 'day' ? `day=${dayText(of.day ?? 0n)}` : `symbol=${escaped(of.symbol ?? '')}`,
  );
  return [...folders, `part-${four(part)}.${layout.form}`].join('/');
}

export function manifestName(layout: Layout, part: number): string {
  return layout.name === null
    ? `_manifest-${four(part)}.json`
    : `${partName(layout.name, part)}.manifest.json`;
}

function partName(name: string, part: number): string {
  if (part === 0) return name;
  const [stem, ending] = splitEnding(name);
  return `${stem}.part-${four(part)}${ending}`;
}

function four(part: number): string {
  return String(part).padStart(4, '0');
}

function dayText(day: Micros): string {
  return formatMicros(day).slice(0, '2025-11-03'.length);
}

/** As Hive escapes: readers decode it. A first dot would hide the folder. */
function escaped(text: string): string {
  return encodeURIComponent(text)
    .replaceAll(/[!'()*~]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll(/^\.+/g, (dots) => '%2E'.repeat(dots.length));
}
