import { formByName, type FormName } from '../../core/export/format.ts';
import type { Layout, PartitionKey } from '../../core/export/layout.ts';
import type { ExportRequest } from '../../core/export/request.ts';
import type { Env } from '../../core/env.ts';
import type { JobRunTracker } from '../../store/job-runs.ts';
import { runExport } from './exporter.ts';
import { checkPlace, ConfinedTarget } from './targets/confined.ts';
import { TargetError } from './targets/target.ts';

export interface ExportJobsOptions {
  /** EXPORT_DIR; made when it is needed */
  directory: string;
  /** of all files below it. Default 100 GiB */
  quotaBytes?: number;
  /** READ_DATABASE_URL, or DATABASE_URL */
  databaseUrl: string;
  jobRuns: JobRunTracker;
  env: Env;
  /** exports at once; the next one is refused. Default 2: each has a session and a snapshot */
  runningMax?: number;
}

export interface ExportJob {
  request: ExportRequest;
  /** below the directory, such as ticks/ibkr.csv */
  output: string;
  /** null: by the ending of output; partitioned: parquet */
  form: FormName | null;
  partitionBy: readonly PartitionKey[];
  isForSpreadsheets: boolean;
  isIncremental: boolean;
}

/** So many exports run already. */
export class TooManyExportsError extends Error {
  override name = 'TooManyExportsError';
}

const QUOTA_BYTES = 100 * 2 ** 30;
const RUNNING_MAX = 2;

/** Exports that the API runs in this process, all of them below one directory. How they are and were is in job_runs. */
export class ExportJobs {
  readonly #options: ExportJobsOptions;
  readonly #running = new Map<number, { stopping: AbortController; output: string; ended: Promise<void> }>();
  readonly #starting = new Set<string>();
  #target: Promise<ConfinedTarget> | null = null;

  constructor(options: ExportJobsOptions) {
    this.#options = options;
  }

  /**
   * Begins an export; returns the number of its run. Rejects with TargetError where the output cannot be, with
   * TooManyExportsError, or as the database does.
   */
  async start(job: ExportJob): Promise<number> {
    const output = checkPlace(job.output);
    const form = job.form ?? (job.partitionBy.length > 0 ? 'parquet' : formByName(output));
    if (form === null) throw new TargetError('failed', 'the ending of the output names no format');
    if (this.#isTaken(output)) throw new TargetError('in_the_way', `an export to ${output} is running`);
    const { runningMax = RUNNING_MAX } = this.#options;
    if (this.#running.size + this.#starting.size >= runningMax)
      throw new TooManyExportsError(`${runningMax} exports run already`);
    this.#starting.add(output);
    try {
      return await this.#begin(job, output, form);
    } finally {
      this.#starting.delete(output);
    }
  }

  /** Of this process at once, of another one within seconds. False: it does not run. */
  async cancel(id: number): Promise<boolean> {
    const own = this.#running.get(id);
    own?.stopping.abort();
    return own !== undefined || this.#options.jobRuns.cancel(id);
  }

  /** The directory, for downloads. */
  target(): Promise<ConfinedTarget> {
    const { directory, quotaBytes = QUOTA_BYTES } = this.#options;
    // after a failure it is tried again
    this.#target ??= ConfinedTarget.open(directory, quotaBytes).catch((error: unknown) => {
      this.#target = null;
      throw error;
    });
    return this.#target;
  }

  /** Gives up what runs. */
  async close(): Promise<void> {
    const running = [...this.#running.values()];
    for (const { stopping } of running) stopping.abort();
    await Promise.all(running.map(({ ended }) => ended));
  }

  #isTaken(output: string): boolean {
    return this.#starting.has(output) || [...this.#running.values()].some((each) => each.output === output);
  }

  async #begin(job: ExportJob, output: string, form: FormName): Promise<number> {
    const { databaseUrl, jobRuns, env } = this.#options;
    const { request, partitionBy, isForSpreadsheets, isIncremental } = job;
    const root = await this.target();
    await root.measure();
    const isFolder = partitionBy.length > 0;
    const layout: Layout = { name: isFolder ? null : output, form, partitionBy };
    const stopping = new AbortController();
    const started = Promise.withResolvers<number>();
    const work = runExport({
      databaseUrl,
      applicationName: 'api export',
      jobRuns,
      clock: env.clock,
      request,
      target: isFolder ? root.below(output) : root,
      layout,
      isForSpreadsheets,
      isIncremental,
      asOf: null,
      onRun: (id) => started.resolve(id),
      stopping: stopping.signal,
    });
    work.catch((error: unknown) => started.reject(error));
    const id = await started.promise;
    const ended = work.then(
      ({ rows }) => env.log('info', 'An export is done', { run_id: id, output, rows }),
      (error: unknown) => env.log('warn', 'An export failed', { run_id: id, output, err: error }),
    );
    this.#running.set(id, { stopping, output, ended });
    void ended.finally(() => this.#running.delete(id));
    return id;
  }
}
