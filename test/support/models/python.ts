import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

export const PYTHON = fileURLToPath(new URL('../../.venv/bin/python', import.meta.url));
const INSTALLED = fileURLToPath(new URL('../../.venv/.installed', import.meta.url));
const TRAIN = fileURLToPath(new URL('train.py', import.meta.url));

/** Why no model can be trained here, as tap's skip wants it. */
export function noScikitLearn(): false | string {
  const isThere =
    existsSync(PYTHON) && existsSync(INSTALLED) && readFileSync(INSTALLED, 'utf8').includes('skl2onnx');
  return isThere ? false : 'no scikit-learn in test/.venv (scripts/test-machine.sh installs it as root)';
}

/** Fills the folder: train.py says with what. */
export async function trainModels(folder: string): Promise<void> {
  await promisify(execFile)(PYTHON, ['-W', 'ignore', TRAIN, folder]);
}
