import { selectList, textLiteral, type Query, type SqlColumn } from './query.ts';

/** job_runs. */

export const JOB_STATUSES = ['pending', 'running', 'paused', 'success', 'failed', 'cancelled'] as const;

export interface JobsFilter {
  name: string | null;
  status: (typeof JOB_STATUSES)[number] | null;
}

export const JOB_COLUMNS: readonly SqlColumn[] = [
  { name: 'id', type: 'count' },
  { name: 'job_name', type: 'text', repeats: true },
  { name: 'provider', type: 'text', repeats: true },
  { name: 'status', type: 'text', repeats: true },
  { name: 'symbols', type: 'json', sql: 'to_json(symbols)::text' },
  { name: 'rows_written', type: 'count' },
  { name: 'min_ts', type: 'timestamp' },
  { name: 'max_ts', type: 'timestamp' },
  { name: 'started_at', type: 'timestamp' },
  { name: 'completed_at', type: 'timestamp' },
  { name: 'heartbeat_at', type: 'timestamp' },
  { name: 'error_message', type: 'text' },
  { name: 'metadata', type: 'json', sql: 'metadata::text' },
];

/** The newest first. */
export function jobs({ name, status }: JobsFilter, before: bigint | null): Query {
  const conditions = ['true'];
  if (name !== null) conditions.push(`job_name = ${textLiteral(name)}`);
  if (status !== null) conditions.push(`status = '${status}'`);
  if (before !== null) conditions.push(`id < ${before}`);
  return jobsWhere(conditions.join(' AND '));
}

/** One run, or none. @param name what it must be a run of; null: anything */
export function job(id: bigint, name: string | null = null): Query {
  return jobsWhere(`id = ${id}${name === null ? '' : ` AND job_name = ${textLiteral(name)}`}`);
}

function jobsWhere(condition: string): Query {
  return {
    columns: JOB_COLUMNS,
    sql: `SELECT ${selectList(JOB_COLUMNS)} FROM job_runs WHERE ${condition} ORDER BY id DESC`,
  };
}
