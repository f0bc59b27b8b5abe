import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { TROUBLES } from './onnx.ts';

/** A folder for models, removed at the end of the test. */
export async function modelFolder(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'mdp-model-'));
  t.teardown(() => rm(folder, { recursive: true }));
  return folder;
}

/** What troubledModel() says of itself. */
export const TROUBLED = { name: 'troubled', version: '1', features: [...TROUBLES], output: 'out' };

/** NAME.onnx and NAME.json; the path of the model. */
export async function writeModel(
  folder: string,
  name: string,
  bytes: Uint8Array,
  side: Readonly<Record<string, unknown>> | string | null,
): Promise<string> {
  const path = join(folder, `${name}.onnx`);
  await writeFile(path, bytes);
  if (side !== null)
    await writeFile(join(folder, `${name}.json`), typeof side === 'string' ? side : JSON.stringify(side));
  return path;
}
