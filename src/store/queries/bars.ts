import type { Micros } from '../../core/time.ts';
import { selectList, textLiteral, timeLiteral, type Query, type SqlColumn } from './query.ts';

/** bars_ohlcv, bars_replay and bars_history. */

export interface BarsFilter {
  provider: string;
  symbol: string;
  /** as the table has it: 1m */
  interval: string;
  /** windows that begin in [from, to), µs since 1970; null: open */
  from: Micros | null;
  to: Micros | null;
  order: 'oldest first' | 'newest first';
}

/** The last bar of a page. */
export interface BarPosition {
  ts: Micros;
  /** of bars_history, else 0 */
  revision: bigint;
}

const VALUES: readonly SqlColumn[] = [
  { name: 'ts', type: 'timestamp' },
  { name: 'open', type: 'float64' },
  { name: 'high', type: 'float64' },
  { name: 'low', type: 'float64' },
  { name: 'close', type: 'float64' },
  { name: 'volume', type: 'float64' },
  { name: 'vwap', type: 'float64' },
  { name: 'tick_count', type: 'count' },
  { name: 'first_ts', type: 'timestamp' },
  { name: 'last_ts', type: 'timestamp' },
  { name: 'is_final', type: 'bool' },
  { name: 'revision', type: 'count', sql: 'revision::bigint' },
  { name: 'updated_at', type: 'timestamp' },
];

export function barColumns({ provider, symbol, interval }: BarsFilter): readonly SqlColumn[] {
  return [
    { name: 'provider', type: 'text', constant: provider },
    { name: 'symbol', type: 'text', constant: symbol },
    { name: 'interval', type: 'text', constant: interval },
    ...VALUES,
  ];
}

/** @param run of a replay; null: live bars */
export function bars(filter: BarsFilter, run: bigint | null, after: BarPosition | null): Query {
  const columns = barColumns(filter);
  const conditions = conditionsOf(filter);
  if (run !== null) conditions.unshift(`replay_run_id = ${run}`);
  const sign = filter.order === 'oldest first' ? '>' : '<';
  if (after !== null) conditions.push(`ts ${sign} ${timeLiteral(after.ts)}`);
  return {
    columns,
    sql: `SELECT ${selectList(columns)} FROM ${run === null ? 'bars_ohlcv' : 'bars_replay'}
      WHERE ${conditions.join(' AND ')} ORDER BY ts${filter.order === 'oldest first' ? '' : ' DESC'}`,
  };
}

export function barHistoryColumns(filter: BarsFilter): readonly SqlColumn[] {
  return [...barColumns(filter), { name: 'replaced_at', type: 'timestamp' }];
}

/** Versions of bars that corrections replaced, by (ts, revision). */
export function barHistory(filter: BarsFilter, after: BarPosition | null): Query {
  const columns = barHistoryColumns(filter);
  const conditions = conditionsOf(filter);
  const isForward = filter.order === 'oldest first';
  const sign = isForward ? '>' : '<';
  if (after !== null) {
    const at = timeLiteral(after.ts);
    conditions.push(`ts ${sign}= ${at}`, `(ts, revision) ${sign} (${at}, ${after.revision})`);
  }
  const direction = isForward ? '' : ' DESC';
  return {
    columns,
    // by the column's own name: an ORDER BY of the bigint that is sent could not use the key
    sql: `SELECT ${selectList(columns)} FROM bars_history h
      WHERE ${conditions.join(' AND ')} ORDER BY h.ts${direction}, h.revision${direction}`,
  };
}

function conditionsOf({ provider, symbol, interval, from, to }: BarsFilter): string[] {
  return [
    `provider = ${textLiteral(provider)}`,
    `symbol = ${textLiteral(symbol)}`,
    `"interval" = ${textLiteral(interval)}`,
    ...(from === null ? [] : [`ts >= ${timeLiteral(from)}`]),
    ...(to === null ? [] : [`ts < ${timeLiteral(to)}`]),
  ];
}
