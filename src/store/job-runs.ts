import type { RunOnSession } from './postgres/session.ts';
import { timeOf } from './postgres/time-sql.ts';

/** The kinds of runs of the program (table job_runs). */
export type JobName =
  | 'tick_replay'
  | 'tick_export'
  | 'tick_import'
  | 'tick_consumer'
  | 'micro_batch'
  | 'inference'
  | 'signals'
  | 'produce'
  | 'retention';

export interface JobStart {
  jobName: JobName;
  provider?: string | null;
  symbols?: readonly string[] | null;
  metadata?: Readonly<Record<string, unknown>>;
}

/** The progress of a run; times in µs since 1970, null before the first row. */
export interface JobProgress {
  rowsWritten: number;
  minTs: bigint | null;
  maxTs: bigint | null;
  symbols?: readonly string[];
}

/** A running run whose heartbeat is older than this has lost its process. */
const DEAD_AFTER = "interval '2 minutes'";

/**
 * The audit of runs: one row of job_runs for each. Every method rejects with the server's error, or as Session.run
 * does: the run decides how to react.
 */
export class JobRunTracker {
  readonly #run: RunOnSession;

  constructor(run: RunOnSession) {
    this.#run = run;
  }

  /** Returns its id. Earlier runs of the same name that died without reporting are marked failed. */
  async start({ jobName, provider, symbols, metadata }: JobStart): Promise<number> {
    await this.#run((client) =>
      client.query(
        `UPDATE job_runs SET status = 'failed', completed_at = clock_timestamp(), error_message = 'its process ended without a word'
        WHERE job_name = $1 AND status = 'running' AND heartbeat_at < clock_timestamp() - ${DEAD_AFTER}`,
        [jobName],
      ),
    );
    const { rows } = await this.#run((client) =>
      client.query<{ id: string }>(
        `INSERT INTO job_runs (job_name, provider, status, symbols, metadata) VALUES ($1, $2, 'running', $3, $4) RETURNING id`,
        [jobName, provider ?? null, symbols ?? null, JSON.stringify(metadata ?? {})],
      ),
    );
    return Number(rows[0]?.id);
  }

  /** Call it every few seconds, even when nothing was written: it is the heartbeat. */
  async progress(id: number, { rowsWritten, minTs, maxTs, symbols }: JobProgress): Promise<void> {
    await this.#run((client) =>
      client.query(
        `UPDATE job_runs SET rows_written = $2, min_ts = ${timeOf('$3')}, max_ts = ${timeOf('$4')},
              symbols = coalesce($5, symbols), heartbeat_at = clock_timestamp() WHERE id = $1`,
        [id, rowsWritten, minTs?.toString() ?? null, maxTs?.toString() ?? null, symbols ?? null],
      ),
    );
  }

  async finish(id: number, status: 'success' | 'failed' | 'cancelled', error: string | null): Promise<void> {
    await this.#run((client) =>
      client.query(
        `UPDATE job_runs SET status = $2, error_message = $3, completed_at = clock_timestamp(), heartbeat_at = clock_timestamp()
        WHERE id = $1`,
        [id, status, error],
      ),
    );
  }
}
