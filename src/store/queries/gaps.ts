import { selectList, type Query, type SqlColumn } from './query.ts';

/** ingest_gaps. */

export const GAP_STATES = ['open', 'filled', 'unfillable', 'skipped'] as const;

export interface GapsFilter {
  state: (typeof GAP_STATES)[number] | null;
  /** gaps that share a number with [from, to) */
  from: bigint | null;
  to: bigint | null;
}

export interface GapKey {
  first: bigint;
  id: bigint;
}

export const GAP_COLUMNS: readonly SqlColumn[] = [
  { name: 'gap_id', type: 'count' },
  { name: 'first_tick', type: 'int64' },
  { name: 'last_tick', type: 'int64' },
  { name: 'state', type: 'text', repeats: true },
  { name: 'detected_at', type: 'timestamp' },
  { name: 'closed_at', type: 'timestamp' },
  { name: 'attempts', type: 'count', sql: 'attempts::bigint' },
  { name: 'last_error', type: 'text' },
];

/** In the order of the chain. */
export function gaps({ state, from, to }: GapsFilter, after: GapKey | null): Query {
  const conditions = ['true'];
  if (state !== null) conditions.push(`state = '${state}'`);
  if (from !== null) conditions.push(`last_tick >= ${from}`);
  if (to !== null) conditions.push(`first_tick < ${to}`);
  if (after !== null) conditions.push(`(first_tick, gap_id) > (${after.first}, ${after.id})`);
  return {
    columns: GAP_COLUMNS,
    sql: `SELECT ${selectList(GAP_COLUMNS)} FROM ingest_gaps WHERE ${conditions.join(' AND ')} ORDER BY first_tick, gap_id`,
  };
}
