import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { parseDescription, type ModelDescription } from './description.ts';
import { onnxMetadata } from './onnx-metadata.ts';

/** A model that cannot be used: one line that names the file, and what was wanted and found. */
export class ModelError extends Error {
  override name = 'ModelError';
}

/** A model as it was read: its processes get these bytes, whatever becomes of the file. */
export interface ModelFile {
  readonly path: string;
  readonly bytes: Uint8Array;
  /** `sha256:` and hex */
  readonly digest: string;
  readonly description: ModelDescription;
}

/** Of the metadata that hold what otherwise stands in the side file. */
export const METADATA_KEY = 'mdp_model';

const MODEL_BYTES_MAX = 512 * 1024 * 1024;
const SIDE_BYTES_MAX = 1024 * 1024;

const PICKLE = /\.(pkl|pickle|joblib)$/i;

/** What to do with a pickle that is named as a model; null for any other path. */
export function pickleAdvice(path: string): string | null {
  if (!PICKLE.test(path)) return null;
  const model = path.replace(PICKLE, '.onnx');
  return `is a pickle, which is never loaded here: run "mdp models convert ${path}" and name its ${model}`;
}

/** NAME.json beside NAME.onnx */
export function sideFileOf(path: string): string {
  return path.replace(/\.onnx$/i, '') + '.json';
}

/** @throws ModelError */
export async function readModelFile(path: string): Promise<ModelFile> {
  const advice = pickleAdvice(path);
  if (advice !== null) throw new ModelError(`${path} ${advice}`);
  const bytes = await read(path, MODEL_BYTES_MAX);
  if (bytes === null) throw new ModelError(`${path} does not exist`);
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  const side = sideFileOf(path);
  const said = (await read(side, SIDE_BYTES_MAX))?.toString('utf8') ?? null;
  const description = said === null ? described(path, bytes) : parsed(side, said);
  if (description.digest !== null && description.digest !== digest)
    throw new ModelError(
      `${side} is of another model: wanted ${description.digest}, found ${digest} of ${path}`,
    );
  return { path, bytes, digest, description };
}

/** What tells whether the files changed, without reading them; never rejects. */
export async function fingerprintOf(path: string): Promise<string> {
  const each = [path, sideFileOf(path)].map(async (file) => {
    try {
      const { ino, size, mtimeNs } = await stat(file, { bigint: true });
      return `${ino}:${size}:${mtimeNs}`;
    } catch (error) {
      return (error as { code?: string }).code ?? 'unknown';
    }
  });
  return (await Promise.all(each)).join(' ');
}

function described(path: string, bytes: Uint8Array): ModelDescription {
  let properties: Map<string, string>;
  try {
    properties = onnxMetadata(bytes);
  } catch (error) {
    throw new ModelError(`${path} ${(error as Error).message}`, { cause: error });
  }
  const said = properties.get(METADATA_KEY);
  if (said === undefined)
    throw new ModelError(
      `${path} has neither a side file ${sideFileOf(path)} nor the metadata ${METADATA_KEY}: its features are not known`,
    );
  return parsed(`${path}, metadata ${METADATA_KEY}:`, said);
}

function parsed(where: string, json: string): ModelDescription {
  try {
    return parseDescription(json);
  } catch (error) {
    throw new ModelError(`${where} ${(error as Error).message}`, { cause: error });
  }
}

/** null: there is none */
async function read(path: string, bytesMax: number): Promise<Buffer | null> {
  try {
    const { size } = await stat(path);
    if (size > bytesMax) throw new ModelError(`${path} has ${size} bytes; at most ${bytesMax}`);
    return await readFile(path);
  } catch (error) {
    if (error instanceof ModelError) throw error;
    const { code } = error as { code?: string };
    if (code === 'ENOENT') return null;
    throw new ModelError(`${path} cannot be read (${code ?? (error as Error).message})`, { cause: error });
  }
}
