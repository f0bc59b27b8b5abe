import type { Micros } from '../../core/time.ts';
import { selectList, textLiteral, timeLiteral, type Query, type SqlColumn } from './query.ts';

/** The table signals. */

export interface SignalsFilter {
  /** null with `name`: the signals of this name of all symbols */
  of: { provider: string; symbol: string } | null;
  /** null: all, where `of` is given */
  name: string | null;
  /** 0: live */
  run: bigint;
  /** [from, to), µs since 1970; null: open */
  from: Micros | null;
  to: Micros | null;
  order: 'oldest first' | 'newest first';
  after: SignalKey | null;
}

/** What tells a signal from all others of its run. */
export interface SignalKey {
  ts: Micros;
  provider: string;
  symbol: string;
  name: string;
}

export const SIGNAL_COLUMNS: readonly SqlColumn[] = [
  { name: 'provider', type: 'text', repeats: true },
  { name: 'symbol', type: 'text', repeats: true },
  { name: 'ts', type: 'timestamp' },
  { name: 'name', type: 'text', repeats: true },
  { name: 'value', type: 'float64' },
  { name: 'score', type: 'float64' },
  { name: 'metadata', type: 'json', sql: 'metadata::text' },
  { name: 'replay_run_id', type: 'count' },
  { name: 'created_at', type: 'timestamp' },
];

/** Of one symbol by (ts, name), of one name by (ts, provider, symbol). */
export function signals({ of, name, run, from, to, order, after }: SignalsFilter): Query {
  const isForward = order === 'oldest first';
  const sign = isForward ? '>' : '<';
  const conditions: string[] = [];
  if (of !== null)
    conditions.push(`provider = ${textLiteral(of.provider)}`, `symbol = ${textLiteral(of.symbol)}`);
  if (name !== null) conditions.push(`name = ${textLiteral(name)}`);
  conditions.push(`replay_run_id = ${run}`);
  if (from !== null) conditions.push(`ts >= ${timeLiteral(from)}`);
  if (to !== null) conditions.push(`ts < ${timeLiteral(to)}`);
  const keys = of === null ? ['provider', 'symbol'] : ['name'];
  if (after !== null) {
    const at = timeLiteral(after.ts);
    const key = of === null ? [after.provider, after.symbol] : [after.name];
    conditions.push(
      `ts ${sign}= ${at}`,
      `(ts, ${keys.join(', ')}) ${sign} (${[at, ...key.map(textLiteral)].join(', ')})`,
    );
  }
  const direction = isForward ? '' : ' DESC';
  const ordered = ['ts', ...keys].map((key) => `${key}${direction}`);
  return {
    columns: SIGNAL_COLUMNS,
    sql: `SELECT ${selectList(SIGNAL_COLUMNS)} FROM signals WHERE ${conditions.join(' AND ')} ORDER BY ${ordered.join(', ')}`,
  };
}
