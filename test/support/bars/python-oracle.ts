import { runOracle } from '../python.ts';

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
  const args = [...events, '--out', out, '--window-ms', `${windowMs}`];
  if (turnedAway !== undefined) {
    const { allowLateMs, out: lateOut } = turnedAway;
    args.push('--policy', 'turned_away', '--allow-late-ms', `${allowLateMs}`, '--late-out', lateOut);
  }
  return JSON.parse(await runOracle('bars.py', args)) as OracleCounts;
}
