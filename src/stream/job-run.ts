import type { LogLine } from '../core/env.ts';
import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '../core/time.ts';
import type { JobName, JobRunTracker } from '../store/job-runs.ts';
import type { Labels, Meter } from './meter.ts';

export interface RunBookOptions {
  /** of stage_heartbeat_timestamp_seconds */
  stage: string;
  /** in log lines */
  name: string;
  jobName: JobName;
  jobRuns: JobRunTracker;
  meter: Meter;
  log: LogLine;
  clock: Clock;
  labels: Labels & { topic: string; group: string; consumer: string };
  /** age of the oldest record of the group not yet acknowledged, ms; rejects while the bus is away */
  lagMs: () => Promise<number>;
  /** once a second, for gauges of its own */
  onBeat?: () => void;
}

const BEAT_MS = 1_000;
/** what the last beat may take: the bus may be away */
const LAST_BEAT_MS = 1_000;
const PROGRESS_EVERY_BEATS = 5;
/** symbols kept for the row of the run */
const SYMBOLS_MAX = 1_000;

/** The books of one run of a consumer: its row in job_runs, its heartbeat and its lag. Nothing here stops the consumer. */
export class RunBook {
  readonly #options: RunBookOptions;
  readonly #symbols = new Set<string>();
  #id: Promise<number> | null = null;
  #rows = 0;
  #minTs: bigint | null = null;
  #maxTs: bigint | null = null;
  #beats = 0;
  #beating: Promise<void> | null = null;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: RunBookOptions) {
    this.#options = options;
  }

  start(): void {
    const beat = (): void => {
      this.#beating ??= this.#beat().finally(() => (this.#beating = null));
    };
    this.#timer = setInterval(beat, BEAT_MS);
    beat();
  }

  /** Rows that are in the store. */
  wrote(rows: number): void {
    this.#rows += rows;
  }

  /** Of what was written. */
  saw(symbol: string, ts: bigint): void {
    if (this.#minTs === null || ts < this.#minTs) this.#minTs = ts;
    if (this.#maxTs === null || ts > this.#maxTs) this.#maxTs = ts;
    if (this.#symbols.size < SYMBOLS_MAX) this.#symbols.add(symbol);
  }

  async finish(failure: Error | null): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    // so that a run of a moment is not left as running
    await Promise.race([this.#beating, delay(LAST_BEAT_MS, undefined, { ref: false })]);
    const { jobRuns, log, name } = this.#options;
    if (this.#id === null) return;
    try {
      const id = await this.#id;
      await jobRuns.progress(id, this.#progress());
      await jobRuns.finish(id, failure === null ? 'success' : 'failed', failure?.message ?? null);
    } catch (err) {
      log('warn', `${name}: the end of the run is not in job_runs`, { err });
    }
  }

  #progress(): { rowsWritten: number; minTs: bigint | null; maxTs: bigint | null; symbols: string[] } {
    return {
      rowsWritten: this.#rows,
      minTs: this.#minTs,
      maxTs: this.#maxTs,
      symbols: [...this.#symbols].sort(),
    };
  }

  async #beat(): Promise<void> {
    const { meter, clock, labels, lagMs, jobRuns, stage, jobName, onBeat } = this.#options;
    meter.set('stage_heartbeat_timestamp_seconds', { stage }, Number(clock.nowMicros()) / 1e6);
    onBeat?.();
    try {
      meter.set('stream_consumer_lag_ms', labels, await lagMs());
      this.#id ??= jobRuns.start({ jobName, metadata: labels });
      this.#id.catch(() => (this.#id = null));
      const id = await this.#id;
      if (this.#beats++ % PROGRESS_EVERY_BEATS === 0) await jobRuns.progress(id, this.#progress());
    } catch {
      // bus or database are away: the consumer's own calls say so
    }
  }
}
