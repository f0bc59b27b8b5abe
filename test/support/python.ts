import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const PYTHON = fileURLToPath(new URL('../.venv/bin/python', import.meta.url));
/** what the environment was made of */
const INSTALLED = new URL('../.venv/.installed', import.meta.url);
const WANTED = new URL('../oracle/requirements.txt', import.meta.url);

/** Why nothing can be computed independently here, as tap's skip wants it. */
export function noOracle(): false | string {
  const isInstalled = existsSync(PYTHON) && existsSync(INSTALLED);
  return isInstalled && readFileSync(INSTALLED, 'utf8').includes(readFileSync(WANTED, 'utf8'))
    ? false
    : 'no pandas and scipy in test/.venv as they should be (scripts/test-machine.sh installs them as root)';
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
