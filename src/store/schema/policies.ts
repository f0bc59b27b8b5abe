import type { Client } from 'pg';
import { isoSeconds } from '../postgres/time-sql.ts';

/** A job of TimescaleDB on one of our tables, whoever made it. */
export interface Policy {
  table: string;
  jobId: number;
  /** e.g. `compression`, `retention`; for a function of one's own its name */
  kind: string;
  /** e.g. `compress_after 7 days` */
  settings: string;
  /** e.g. `12:00:00` */
  every: string;
  /** false: paused by alter_job */
  isScheduled: boolean;
  runs: number;
  failures: number;
  /** null: it has never run */
  lastRun: { at: string; isFailure: boolean } | null;
  /** what the newest failure said, with its SQLSTATE */
  error: string | null;
  /** ISO; null: not planned */
  nextStart: string | null;
}

interface Row {
  table_name: string;
  job_id: number;
  proc_name: string;
  config: Record<string, unknown> | null;
  every: string;
  scheduled: boolean;
  runs: string | null;
  failures: string | null;
  last_run: string | null;
  last_status: string | null;
  error: string | null;
  next_start: string | null;
}

/** The policies on the tables of this schema; call it only where TimescaleDB can be used. */
export async function readPolicies(client: Client): Promise<Policy[]> {
  const { rows } = await client.query<Row>(
    `SELECT j.hypertable_name AS table_name, j.job_id, j.proc_name, j.config, j.schedule_interval::text AS every, j.scheduled,
            s.total_runs AS runs, s.total_failures AS failures, s.last_run_status AS last_status,
            ${isoSeconds('s.last_run_started_at')} AS last_run, ${isoSeconds('j.next_start')} AS next_start,
            (SELECT e.err_message || ' (' || e.sqlerrcode || ')' FROM timescaledb_information.job_errors e
              WHERE e.job_id = j.job_id ORDER BY e.finish_time DESC LIMIT 1) AS error
       FROM timescaledb_information.jobs j
       LEFT JOIN timescaledb_information.job_stats s ON s.job_id = j.job_id
      WHERE CASE WHEN j.hypertable_name IS NOT NULL THEN to_regclass(quote_ident(j.hypertable_name)) =
            to_regclass(format('%I.%I', j.hypertable_schema, j.hypertable_name)) END
      ORDER BY j.hypertable_name, j.job_id`,
  );
  return rows.map((row) => ({
    table: row.table_name,
    jobId: row.job_id,
    kind: row.proc_name.replace(/^policy_/, ''),
    settings: settingsOf(row.config),
    every: row.every,
    isScheduled: row.scheduled,
    runs: Number(row.runs ?? 0),
    failures: Number(row.failures ?? 0),
    lastRun: row.last_run === null ? null : { at: row.last_run, isFailure: row.last_status !== 'Success' },
    error: row.error,
    nextStart: row.next_start,
  }));
}

/** Internal numbers say nothing to an operator. */
function settingsOf(config: Row['config']): string {
  return Object.entries(config ?? {})
    .filter(([name]) => !name.endsWith('hypertable_id'))
    .map(([name, value]) => `${name} ${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(', ');
}
