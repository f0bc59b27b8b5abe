import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const PYTHON = fileURLToPath(new URL('../.venv/bin/python', import.meta.url));
/** what the environment was made of */
const INSTALLED = new URL('../.venv/.installed', import.meta.url);
const ORACLE = new URL('../oracle/requirements.txt', import.meta.url);
const READERS = new URL('table/requirements.txt', import.meta.url);

/** Why nothing can be computed independently here, as tap's skip wants it. */
export function noOracle(): false | string {
  return isInstalled(ORACLE)
    ? false
    : 'no pandas and scipy in test/.venv as they should be (scripts/test-machine.sh installs them as root)';
}

/** Why nobody's readers of Arrow, CSV and JSON can be tried here. */
export function noReaders(): false | string {
  return isInstalled(ORACLE) && isInstalled(READERS)
    ? false
    : 'no pyarrow, polars and DuckDB in test/.venv as they should be (scripts/test-machine.sh installs them as root)';
}

function isInstalled(requirements: URL): boolean {
  if (!existsSync(PYTHON) || !existsSync(INSTALLED)) return false;
  return readFileSync(INSTALLED, 'utf8').includes(readFileSync(requirements, 'utf8'));
}

/**
 * Runs a script of test/oracle.
 * @returns what it printed
 */
export async function runOracle(script: string, args: readonly string[]): Promise<string> {
  const path = fileURLToPath(new URL(`../oracle/${script}`, import.meta.url));
  const { stdout } = await promisify(execFile)(PYTHON, [path, ...args]);
  return stdout;
}

/**
 * Runs Python code given as text.
 * @returns what it printed
 */
export async function runPython(code: string): Promise<string> {
  const { stdout } = await promisify(execFile)(PYTHON, ['-c', code], { maxBuffer: 64 * 2 ** 20 });
  return stdout;
}
