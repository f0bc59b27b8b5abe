import { manifestName, type Layout } from '../../core/export/layout.ts';
import { parseManifest, type Manifest } from '../../core/export/manifest.ts';
import type { ExportTarget } from './targets/target.ts';

/** No dataset has more parts. */
const PARTS_MAX = 10_000;

export interface LastPart {
  part: number;
  manifest: Manifest;
}

/** The manifest of a part; null: there is none. Rejects with TargetError, ManifestError. */
export async function readPart(target: ExportTarget, layout: Layout, part: number): Promise<Manifest | null> {
  const name = manifestName(layout, part);
  const text = await target.read(name);
  return text === null ? null : parseManifest(text.toString('utf8'), target.address(name));
}

/** The last of the parts that were written, numbered from 0; null: there is none. Rejects as readPart() does. */
export async function lastPart(target: ExportTarget, layout: Layout): Promise<LastPart | null> {
  const read = (part: number): Promise<Manifest | null> => readPart(target, layout, part);
  let found = await read(0);
  if (found === null) return null;
  // parts have no holes: doubled until one is missing, then halved
  let low = 0;
  let high = 1;
  for (let next = await read(high); next !== null && high < PARTS_MAX; next = await read(high)) {
    found = next;
    low = high;
    high *= 2;
  }
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    const manifest = await read(middle);
    if (manifest === null) high = middle;
    else {
      found = manifest;
      low = middle;
    }
  }
  return { part: low, manifest: found };
}

/** Removes parts [from, last], the last first: those which are left are a dataset at any moment. */
export async function removeParts(
  target: ExportTarget,
  layout: Layout,
  from: number,
  last: number,
): Promise<void> {
  for (let part = last; part >= from; part -= 1) {
    const manifest = await readPart(target, layout, part);
    if (manifest === null) continue;
    await target.remove(manifestName(layout, part));
    for (const { path } of manifest.files) await target.remove(path);
  }
}
