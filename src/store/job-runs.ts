import type { RunOnSession } from './postgres/session.ts';
import { timeOf } from './postgres/time-sql.ts';

/** The kinds of runs of the program (table job_runs). */
export type JobName =
  | 'tick_replay'
  | 'tick_export'
  | 'tick_import'
  | 'tick_consumer'
  | 'tick_flush'
  | 'micro_batch'
  | 'inference'
  | 'signals'
  | 'produce'
  | 'retention'
  | 'bars_rebuild';

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

/** A run that was interrupted, as far as it came. */
export interface UnfinishedRun {
  id: number;
  rowsWritten: number;
  metadata: Readonly<Record<string, unknown>>;
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

  /** Lets a run that checks for it end, whoever does it. False: it does not run. */
  async cancel(id: number): Promise<boolean> {
    const { rowCount } = await this.#run((client) =>
      client.query("UPDATE job_runs SET status = 'cancelled' WHERE id = $1 AND status = 'running'", [id]),
    );
    return rowCount === 1;
  }

  /** Whether somebody set its status to cancelled while it runs: it is to end. */
  async isCancelled(id: number): Promise<boolean> {
    const { rowCount } = await this.#run((client) =>
      client.query("SELECT FROM job_runs WHERE id = $1 AND status = 'cancelled'", [id]),
    );
    return rowCount === 1;
  }

  /** The last run with this job name and this key of its metadata, if it did not end in success. */
  async unfinished(jobName: JobName, key: string): Promise<UnfinishedRun | null> {
    const { rows } = await this.#run((client) =>
      client.query<{ id: string; status: string; rows_written: string; metadata: UnfinishedRun['metadata'] }>(
        `SELECT id, status, rows_written, metadata FROM job_runs
          WHERE job_name = $1 AND metadata->>'key' = $2 ORDER BY id DESC LIMIT 1`,
        [jobName, key],
      ),
    );
    const last = rows[0];
    if (last === undefined || last.status === 'success') return null;
    return { id: Number(last.id), rowsWritten: Number(last.rows_written), metadata: last.metadata };
  }

  /** The run goes on: it is running again. */
  async resume(id: number): Promise<void> {
    await this.#run((client) =>
      client.query(
        `UPDATE job_runs SET status = 'running', completed_at = NULL, error_message = NULL, heartbeat_at = clock_timestamp()
          WHERE id = $1`,
        [id],
      ),
    );
  }

  /** Adds to the metadata; what a run needs to be resumed. */
  async note(id: number, metadata: Readonly<Record<string, unknown>>): Promise<void> {
    await this.#run((client) =>
      client.query(
        'UPDATE job_runs SET metadata = metadata || $2, heartbeat_at = clock_timestamp() WHERE id = $1',
        [id, JSON.stringify(metadata)],
      ),
    );
  }

  async finish(
    id: number,
    status: 'success' | 'failed' | 'cancelled' | 'paused',
    error: string | null,
  ): Promise<void> {
    await this.#run((client) =>
      client.query(
        `UPDATE job_runs SET status = $2, error_message = $3, heartbeat_at = clock_timestamp(),
              completed_at = CASE WHEN $2 = 'paused' THEN NULL ELSE clock_timestamp() END
        WHERE id = $1`,
        [id, status, error],
      ),
    );
  }
}
