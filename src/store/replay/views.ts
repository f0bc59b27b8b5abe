import type { Client } from 'pg';
import type { ReplayStatus } from '../../core/replay/control.ts';
import { isoTime } from '../postgres/time-sql.ts';

/** A run as the API shows it. Times are ISO-8601 with six decimals and Z. */
export interface ReplayRunView {
  run_id: number;
  job_name: 'tick_replay';
  /** null: several, which the metadata names */
  provider: string | null;
  status: ReplayStatus;
  symbols: string[];
  /** ticks emitted, each time */
  rows_written: number;
  /** where the range begins */
  min_ts: string;
  /** of the last tick emitted; null: none was */
  max_ts: string | null;
  started_at: string;
  completed_at: string | null;
  error_message: string | null;
  /** speed and the other fields of the request; digest, once it succeeded */
  metadata: Record<string, unknown>;
}

export interface ReplayRunsFilter {
  status: ReplayStatus | null;
  /** runs with lower ids; null: from the newest one */
  before: bigint | null;
  limit: number;
}

const VIEW = `j.id::float8 AS run_id, j.job_name, j.provider, j.status, j.symbols, j.rows_written::float8 AS rows_written,
  ${isoTime('j.min_ts')} AS min_ts, ${isoTime('j.max_ts')} AS max_ts, ${isoTime('j.started_at')} AS started_at,
  ${isoTime('j.completed_at')} AS completed_at, j.error_message, j.metadata`;
const FROM = 'FROM replay_runs r JOIN job_runs j ON j.id = r.run_id';

/** Null: there is none. */
export async function viewRun(client: Client, runId: bigint): Promise<ReplayRunView | null> {
  const { rows } = await client.query<ReplayRunView>(`SELECT ${VIEW} ${FROM} WHERE r.run_id = $1`, [
    runId.toString(),
  ]);
  return rows[0] ?? null;
}

/** The newest first. */
export async function viewRuns(
  client: Client,
  { status, before, limit }: ReplayRunsFilter,
): Promise<ReplayRunView[]> {
  const { rows } = await client.query<ReplayRunView>(
    `SELECT ${VIEW} ${FROM} WHERE ($1::text IS NULL OR j.status = $1) AND ($2::bigint IS NULL OR r.run_id < $2)
      ORDER BY r.run_id DESC LIMIT $3`,
    [status, before?.toString() ?? null, limit],
  );
  return rows;
}
