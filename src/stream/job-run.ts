import type { Env } from '../core/env.ts';
import { atMost } from '../core/wait.ts';
import type { JobProgress, JobRunTracker, JobStart } from '../store/job-runs.ts';
import { isSchemaBehind, SCHEMA_REMEDY } from '../store/schema/behind.ts';
import type { Meter } from './meter.ts';

export interface JobRunOptions {
  env: Env;
  meter: Meter;
  /** null: the run is not recorded */
  jobRuns: JobRunTracker | null;
  /** label of stage_heartbeat_timestamp_seconds, and name in the log */
  stage: string;
  /** content of the row; without `symbols` it lists the symbols passed to saw() */
  start: JobStart;
  /** called every second, for the stage's own metrics; may reject while a server is down */
  onBeat?: (beat: number) => void | Promise<void>;
}

const BEAT_MS = 1_000;
/** time limit of the last beat: a server may be down */
const LAST_BEAT_MS = 1_000;
export const PROGRESS_EVERY_BEATS = 5;
/** symbols listed in the row of the run */
const SYMBOLS_MAX = 1_000;

/** One run of a stage of any role: its heartbeat and its row in job_runs. No failure here stops the stage. */
export class JobRun {
  readonly #options: JobRunOptions;
  readonly #symbols: Set<string> | null;
  #id: Promise<number> | null = null;
  #rows = 0;
  #minTs: bigint | null = null;
  #maxTs: bigint | null = null;
  #beats = 0;
  #beating: Promise<void> | null = null;
  #timer: NodeJS.Timeout | null = null;
  #toldBehind = false;

  constructor(options: JobRunOptions) {
    this.#options = options;
    this.#symbols = options.start.symbols === undefined ? new Set() : null;
  }

  start(): void {
    const beat = (): void => {
      this.#beating ??= this.#beat().finally(() => (this.#beating = null));
    };
    this.#timer = setInterval(beat, BEAT_MS);
    beat();
  }

  /** Counts rows written to the store, or events published to the bus. */
  wrote(rows: number): void {
    this.#rows += rows;
  }

  /** Records the symbol and time, µs, of a written row or event. */
  saw(symbol: string, ts: bigint): void {
    if (this.#minTs === null || ts < this.#minTs) this.#minTs = ts;
    if (this.#maxTs === null || ts > this.#maxTs) this.#maxTs = ts;
    if (this.#symbols !== null && this.#symbols.size < SYMBOLS_MAX) this.#symbols.add(symbol);
  }

  /** @param failure why the run failed; null: it did not */
  async finish(failure: string | null): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    // so that a very short run is not left as running
    if (this.#beating !== null) await atMost(this.#beating, LAST_BEAT_MS);
    const { jobRuns, env, stage } = this.#options;
    if (this.#id === null || jobRuns === null) return;
    try {
      const id = await this.#id;
      await jobRuns.progress(id, this.#progress());
      await jobRuns.finish(id, failure === null ? 'success' : 'failed', failure);
    } catch (err) {
      env.log('warn', 'The end of the run is not in job_runs', { stage, err });
    }
  }

  #progress(): JobProgress {
    return {
      rowsWritten: this.#rows,
      minTs: this.#minTs,
      maxTs: this.#maxTs,
      ...(this.#symbols === null ? {} : { symbols: [...this.#symbols].sort() }),
    };
  }

  async #beat(): Promise<void> {
    const { env, meter, jobRuns, stage, start, onBeat } = this.#options;
    const beat = this.#beats++;
    meter.set('stage_heartbeat_timestamp_seconds', { stage }, Number(env.clock.nowMicros()) / 1e6);
    try {
      await onBeat?.(beat);
      if (jobRuns === null) return;
      this.#id ??= jobRuns.start(start);
      this.#id.catch(() => (this.#id = null));
      const id = await this.#id;
      if (beat % PROGRESS_EVERY_BEATS === 0) await jobRuns.progress(id, this.#progress());
    } catch (err) {
      // a server is down: the stage's own calls log that, and a run that cannot be recorded is no reason to stop
      if (this.#toldBehind || !isSchemaBehind(err)) return;
      this.#toldBehind = true;
      env.log('warn', `The run is not in job_runs: the schema is behind. ${SCHEMA_REMEDY}`, { stage, err });
    }
  }
}
