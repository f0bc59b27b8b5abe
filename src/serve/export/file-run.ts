import type { Clock, Micros } from '../../core/time.ts';
import type { JobName, JobRunTracker } from '../../store/job-runs.ts';

export interface RunStart {
  jobName: Extract<JobName, 'tick_export' | 'tick_import'>;
  provider: string | null;
  symbols: readonly string[] | null;
  metadata: Readonly<Record<string, unknown>>;
  clock: Clock;
  /** gives up */
  stopping?: AbortSignal;
  /** called about once a second */
  onProgress?: (rows: number, at: Micros | null) => void;
}

/** Somebody gave the work up: a signal, or job_runs.status = 'cancelled'. */
export class CancelledError extends Error {
  override name = 'CancelledError';
}

/** How often its row is written and looked at; between two, nothing is cancelled. */
const REPORT_EVERY_MS = 1000;

/**
 * The row of job_runs of an export or import: what was done and that it lives, every second; how it ended; and whether it is to
 * end, by a signal or by `UPDATE job_runs SET status = 'cancelled'`.
 */
export class FileRun {
  readonly #jobRuns: JobRunTracker;
  readonly #start: RunStart;
  readonly #stopping = new AbortController();
  readonly id: number;
  #rows = 0;
  #minTs: Micros | null = null;
  #maxTs: Micros | null = null;

  private constructor(jobRuns: JobRunTracker, start: RunStart, id: number) {
    this.#jobRuns = jobRuns;
    this.#start = start;
    this.id = id;
  }

  /** @param resumed the run that goes on; null: a new one */
  static async start(
    jobRuns: JobRunTracker,
    start: RunStart,
    resumed: number | null = null,
  ): Promise<FileRun> {
    const { jobName, provider, symbols, metadata } = start;
    if (resumed === null)
      return new FileRun(jobRuns, start, await jobRuns.start({ jobName, provider, symbols, metadata }));
    await jobRuns.resume(resumed);
    return new FileRun(jobRuns, start, resumed);
  }

  /** Runs the work, and records how it ended. Rejects as the work does, and with CancelledError. */
  async around<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const stop = (): void => this.#stopping.abort();
    this.#start.stopping?.addEventListener('abort', stop, { once: true });
    if (this.#start.stopping?.aborted === true) stop();
    let reporting = Promise.resolve();
    let isReporting = false;
    const timer = setInterval(() => {
      if (isReporting) return;
      isReporting = true;
      reporting = this.#beat().finally(() => (isReporting = false));
    }, REPORT_EVERY_MS);
    try {
      this.check();
      const result = await work(this.#stopping.signal);
      clearInterval(timer);
      await reporting;
      await this.#report();
      await this.#jobRuns.finish(this.id, 'success', null);
      return result;
    } catch (thrown) {
      const error = this.#stopping.signal.aborted
        ? new CancelledError('cancelled', { cause: thrown })
        : thrown;
      const status = error instanceof CancelledError ? 'cancelled' : 'failed';
      clearInterval(timer);
      // the database may be what failed
      await this.#jobRuns.finish(this.id, status, (error as Error).message).catch(() => {});
      throw error;
    } finally {
      clearInterval(timer);
      this.#start.stopping?.removeEventListener('abort', stop);
    }
  }

  /** Rows that were written, and their times. Rejects with CancelledError when it is to end. */
  took(rows: number, from: Micros, to: Micros): void {
    this.#rows += rows;
    if (this.#minTs === null || from < this.#minTs) this.#minTs = from;
    if (this.#maxTs === null || to > this.#maxTs) this.#maxTs = to;
    this.check();
  }

  /** Of what was done by the run before it was interrupted. */
  resumeAt(rows: number): void {
    this.#rows = rows;
  }

  /** Adds to the run's metadata. */
  note(metadata: Readonly<Record<string, unknown>>): Promise<void> {
    return this.#jobRuns.note(this.id, metadata);
  }

  /** @throws CancelledError when it is to end */
  check(): void {
    if (this.#stopping.signal.aborted) throw new CancelledError('cancelled');
  }

  async #beat(): Promise<void> {
    this.#start.onProgress?.(this.#rows, this.#maxTs);
    // an outage of the database ends the work itself, not its report
    await this.#report().catch(() => {});
    if (await this.#jobRuns.isCancelled(this.id).catch(() => false)) this.#stopping.abort();
  }

  async #report(): Promise<void> {
    await this.#jobRuns.progress(this.id, {
      rowsWritten: this.#rows,
      minTs: this.#minTs,
      maxTs: this.#maxTs,
    });
  }
}
