import type { Layout } from '../../core/export/layout.ts';
import { cannotFollow, earlierOf, type Manifest } from '../../core/export/manifest.ts';
import type { ExportRequest, Visibility } from '../../core/export/request.ts';
import { formatMicros, type Micros } from '../../core/time.ts';
import type { SnapshotReader } from '../../store/export/snapshot-reader.ts';
import { ExportError } from './export-error.ts';

export interface WantedRows {
  request: ExportRequest;
  layout: Layout;
  /** the state of a manifest, or of a time (µs since 1970); null: of now */
  asOf: Manifest | Micros | null;
  /** the part whose rows are left out */
  before: Manifest | null;
}

/** Which rows are meant, checked against what the database can know. Rejects with ExportError. */
export async function visibilityOf(
  reader: SnapshotReader,
  { request, layout, asOf, before }: WantedRows,
): Promise<Visibility> {
  if (before !== null) {
    const reason = cannotFollow(before, request, layout.form, layout.partitionBy);
    if (reason !== null)
      throw new ExportError('manifest', `--incremental cannot go on from the last manifest: ${reason}`);
    await refuseForeign(reader, before);
  }
  const since = before === null ? null : earlierOf(before);
  // of a standby: see SnapshotInfo
  if (asOf === null)
    return { asOf: reader.info.isStandby ? { snapshot: reader.info.snapshot } : null, since };
  if (typeof asOf === 'bigint') {
    await refuseUnsettled(reader, asOf);
    return { asOf: { time: asOf }, since };
  }
  await refuseForeign(reader, asOf);
  if (asOf.snapshot === null)
    throw new ExportError('manifest', 'the manifest is as of a time, and has no snapshot');
  return { asOf: { snapshot: asOf.snapshot }, since };
}

async function refuseUnsettled(reader: SnapshotReader, time: Micros): Promise<void> {
  if (!(await reader.isOpenSince(time))) return;
  throw new ExportError(
    'not_settled',
    `--as-of ${formatMicros(time)}: a transaction that began by then is still open, or the time has not come`,
  );
}

/** Numbers of transactions mean something in their own cluster, and on its own way, alone. */
async function refuseForeign(
  reader: SnapshotReader,
  { system_identifier: of, snapshot }: Manifest,
): Promise<void> {
  const { systemIdentifier } = reader.info;
  if (of !== systemIdentifier)
    throw new ExportError(
      'manifest',
      `the manifest is of another database cluster (${of}; this one is ${systemIdentifier})`,
    );
  if (snapshot !== null && (await reader.isAhead(snapshot)))
    throw new ExportError(
      'manifest',
      'the manifest is of a later state than this database has: it was restored to an earlier one',
    );
}

/** An export as of a manifest with its very request has the same bytes, or something is gone. @throws ExportError */
export function refuseDifferent(now: Manifest, asOf: Manifest): void {
  if (asOf.since !== null || identityOf(asOf) !== identityOf(now) || digestsOf(asOf) === digestsOf(now))
    return;
  throw new ExportError(
    'differs',
    `${now.rows} rows are there as they were, or not, of ${asOf.rows}: some were removed by retention, or rewritten while they were not final`,
  );
}

function identityOf({ request, format, options }: Manifest): string {
  return JSON.stringify([request, format, options]);
}

function digestsOf({ files }: Manifest): string {
  return files.map(({ sha256 }) => sha256).join();
}
