import type { LogLine } from '../../core/env.ts';
import type { RefusedRecord } from '../../core/market/dead-letter.ts';
import type { Clock } from '../../core/time.ts';
import type { JobRunTracker } from '../../store/job-runs.ts';
import type { Labels, Meter } from '../meter.ts';
import { RunBook } from '../job-run.ts';
import type { TickBatch } from './batch.ts';
import type { RefusedTick } from './sink.ts';

export interface TickRunOptions {
  jobRuns: JobRunTracker;
  meter: Meter;
  log: LogLine;
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

const COMPONENT = 'tick_consumer';

/** What the tick consumer measures and says, and the books of its run. Nothing here stops the consumer. */
export class TickRun {
  readonly #options: TickRunOptions;
  readonly #book: RunBook;
  readonly #providers = new Set<string>();

  constructor(options: TickRunOptions) {
    this.#options = options;
    this.#book = new RunBook({ ...options, stage: 'ticks', name: 'TickConsumer', jobName: 'tick_consumer' });
  }

  start(): void {
    this.#book.start();
  }

  finish(error: Error | null): Promise<void> {
    return this.#book.finish(error);
  }

  wrote({ batch, stored, known, refused, letters, durationMs }: TickBatchResult): void {
    const { meter, log } = this.#options;
    this.#book.wrote(stored);
    const counts = new Map<string, number>();
    for (const { tick } of batch.ticks) {
      counts.set(tick.provider, (counts.get(tick.provider) ?? 0) + 1);
      this.#book.saw(tick.symbol, tick.srcTs);
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
}
