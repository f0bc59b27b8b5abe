import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const PYTHON = fileURLToPath(new URL('../../.venv/bin/python', import.meta.url));
const INSTALLED = fileURLToPath(new URL('../../.venv/.installed', import.meta.url));
const SCRIPT = fileURLToPath(new URL('../../oracle/bars.py', import.meta.url));

/** Why bars cannot be computed independently here, as tap's skip wants it. */
export function noOracle(): false | string {
  return existsSync(PYTHON) && existsSync(INSTALLED)
    ? false
    : 'no pandas in test/.venv (scripts/test-machine.sh installs it as root)';
}

export interface OracleOptions {
  /** CSV files of events in the order published; between two of them all symbols fell idle */
  events: readonly string[];
  /** CSV of the bars */
  out: string;
  windowMs: number;
  /** late events are in no bar, and the numbers of those (from 0) go to this file; left out: they are in the bars */
  turnedAway?: { allowLateMs: number; out: string };
}

export interface OracleCounts {
  events: number;
  /** counted in bars */
  distinct: number;
  late: number;
  /** rows, of all intervals */
  bars: number;
}

/** Runs test/oracle/bars.py: the bars of the window and of 1m, 5m, 1h and 1d. */
export async function computeBars(options: OracleOptions): Promise<OracleCounts> {
  const { events, out, windowMs, turnedAway } = options;
  const args = [SCRIPT, ...events, '--out', out, '--window-ms', `${windowMs}`];
  if (turnedAway !== undefined) {
    const { allowLateMs, out: lateOut } = turnedAway;
    args.push('--policy', 'turned_away', '--allow-late-ms', `${allowLateMs}`, '--late-out', lateOut);
  }
  const { stdout } = await promisify(execFile)(PYTHON, args);
  return JSON.parse(stdout) as OracleCounts;
}
