import type { BusLog } from '../bus/bus.ts';
import type { RefusedRecord } from '../core/market/dead-letter.ts';
import type { Clock } from '../core/time.ts';
import type { JobRunTracker } from '../store/job-runs.ts';
import type { Labels, Meter } from './meter.ts';
import type { TickBatch } from './tick-batch.ts';
import type { RefusedTick } from './tick-sink.ts';

export interface TickRunOptions {
  jobRuns: JobRunTracker;
  meter: Meter;
  log: BusLog;
  clock: Clock;
  labels: Labels & { topic: string; group: string; consumer: string };
  lagMs: () => Promise<number>;
}

/** What came of one batch. */
export interface TickBatchResult {
  batch: TickBatch;
  stored: number;
  known: number;
  refused: readonly RefusedTick[];
  letters: readonly RefusedRecord[];
  durationMs: number;
}

const BEAT_MS = 1_000;
const PROGRESS_EVERY_BEATS = 5;
/** symbols kept for the row of the run */
const SYMBOLS_MAX = 1_000;
const STAGE = 'ticks';
const COMPONENT = 'tick_consumer';

/** The books of one run of the tick consumer: its row in job_runs, its metrics, its log. Nothing here stops the consumer. */
export class TickRun {
  readonly #options: TickRunOptions;
  readonly #symbols = new Set<string>();
  readonly #providers = new Set<string>();
  #id: Promise<number> | null = null;
  #rows = 0;
  #minTs: bigint | null = null;
  #maxTs: bigint | null = null;
  #beats = 0;
  #beating = false;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: TickRunOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = setInterval(() => void this.#beat(), BEAT_MS);
    void this.#beat();
  }

  wrote({ batch, stored, known, refused, letters, durationMs }: TickBatchResult): void {
    const { meter, log } = this.#options;
    this.#rows += stored;
    const counts = new Map<string, number>();
    for (const { tick } of batch.ticks) {
      counts.set(tick.provider, (counts.get(tick.provider) ?? 0) + 1);
      if (this.#minTs === null || tick.srcTs < this.#minTs) this.#minTs = tick.srcTs;
      if (this.#maxTs === null || tick.srcTs > this.#maxTs) this.#maxTs = tick.srcTs;
      if (this.#symbols.size < SYMBOLS_MAX) this.#symbols.add(tick.symbol);
    }
    for (const { tick, reason } of refused) {
      counts.set(tick.provider, (counts.get(tick.provider) ?? 0) - 1);
      meter.count('tick_forward_failures_total', { provider: tick.provider });
      if (reason === 'conflict') meter.count('tick_collisions_total', {});
    }
    for (const [provider, count] of counts) {
      // the failures of a provider are a series from its first tick on
      if (!this.#providers.has(provider)) {
        this.#providers.add(provider);
        meter.count('tick_forward_failures_total', { provider }, 0);
      }
      meter.count('tick_forward_total', { provider }, count);
    }
    for (const { reason } of letters) meter.count('errors_total', { component: COMPONENT, reason });
    if (batch.skipped.lost > 0)
      meter.count('errors_total', { component: COMPONENT, reason: 'body_lost' }, batch.skipped.lost);
    if (batch.ticks.length > 0) {
      meter.observe('store_write_duration_seconds', { table: 'tick_data' }, durationMs / 1000);
      meter.observe('store_bars_write_latency_seconds', {}, durationMs / 1000);
    }
    log('info', 'TickConsumer wrote batch', {
      ticks: batch.ticks.length,
      stored,
      known,
      dead_letters: letters.length,
      duration_ms: Math.round(durationMs * 10) / 10,
    });
    for (const { reason, detail, topic, msgId } of letters.slice(0, 3)) {
      log('warn', 'TickConsumer put an event aside', { topic, msg_id: msgId, reason, detail });
    }
  }

  retried(component: 'bus' | 'database', error: Error, waitMs: number): void {
    this.#options.meter.count('retries_total', { component: `${COMPONENT}_${component}` });
    this.#options.log('warn', `TickConsumer: no answer from the ${component} (will try again)`, {
      err: error,
      retry_ms: waitMs,
    });
  }

  async finish(error: Error | null): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    const { jobRuns, log } = this.#options;
    if (this.#id === null) return;
    try {
      const id = await this.#id;
      await jobRuns.progress(id, this.#progress());
      await jobRuns.finish(id, error === null ? 'success' : 'failed', error?.message ?? null);
    } catch (failure) {
      log('warn', 'TickConsumer: the end of the run is not in job_runs', { err: failure });
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
    if (this.#beating) return;
    this.#beating = true;
    const { meter, clock, labels, lagMs, jobRuns } = this.#options;
    meter.set('stage_heartbeat_timestamp_seconds', { stage: STAGE }, Number(clock.nowMicros()) / 1e6);
    try {
      meter.set('stream_consumer_lag_ms', labels, await lagMs());
      this.#id ??= jobRuns.start({ jobName: 'tick_consumer', metadata: labels });
      this.#id.catch(() => (this.#id = null));
      const id = await this.#id;
      if (this.#beats++ % PROGRESS_EVERY_BEATS === 0) await jobRuns.progress(id, this.#progress());
    } catch {
      // bus or database are away: the consumer's own calls say so
    } finally {
      this.#beating = false;
    }
  }
}
