import { basename, dirname, resolve } from 'node:path';
import { FolderTarget } from './folder.ts';
import { TargetError, type ExportTarget } from './target.ts';

export interface OpenedTarget {
  target: ExportTarget;
  /** the name of the single file; null: the address is of a folder */
  name: string | null;
}

/**
 * A path, s3://bucket/key or gs://bucket/key. The libraries of buckets are loaded only for these.
 * @param isFolder the address is of a folder, as partitioned exports need it
 */
export async function openTarget(
  address: string,
  { isFolder, isPathStyle }: { isFolder: boolean; isPathStyle: boolean },
): Promise<OpenedTarget> {
  const [, scheme, rest = ''] = /^([a-z][a-z0-9+.-]+):\/\/(.*)$/is.exec(address) ?? [];
  if (scheme === undefined) {
    if (!isFolder && /[/\\]$/.test(address))
      throw new TargetError('in_the_way', `${address} is a folder: name a file`);
    const path = resolve(address);
    return isFolder
      ? { target: new FolderTarget(path), name: null }
      : { target: new FolderTarget(dirname(path)), name: basename(path) };
  }
  const slash = rest.indexOf('/');
  const bucket = slash < 0 ? rest : rest.slice(0, slash);
  const key = slash < 0 ? '' : rest.slice(slash + 1);
  if (bucket === '' || (!isFolder && (key === '' || key.endsWith('/'))))
    throw new TargetError('failed', `${address} names no object: ${scheme}://BUCKET/KEY`);
  const last = key.lastIndexOf('/') + 1;
  const prefix = isFolder ? (key === '' || key.endsWith('/') ? key : `${key}/`) : key.slice(0, last);
  const name = isFolder ? null : key.slice(last);
  switch (scheme.toLowerCase()) {
    case 's3': {
      const { S3Target } = await import('./s3.ts');
      return { target: new S3Target({ bucket, prefix }, { isPathStyle }), name };
    }
    case 'gs': {
      const { GcsTarget } = await import('./gcs.ts');
      return { target: new GcsTarget({ bucket, prefix }), name };
    }
    default:
      throw new TargetError('failed', `${address}: known are paths, s3:// and gs://`);
  }
}
