import { systemClock } from '../../core/time.ts';
import type { ConsoleIngester, ConsoleObserver } from '../../ingest/console.ts';
import type { ReaderStats } from '../../ingest/reader/reader-thread.ts';
import type { ThreadStats } from '../../ingest/thread-stats.ts';
import type { Config } from '../config/load.ts';
import type { Probe, ReadyReason } from './http.ts';
import { logLosses } from './log/sink.ts';
import { IngestMetrics } from './ingest-metrics.ts';
import { streamReasons } from './readiness.ts';

const SILENCE_MS = 15_000;

/** The probes and metrics of console mode: no database, so the stream alone decides. */
export class ConsoleTelemetry implements Probe, ConsoleObserver {
  readonly #metrics: IngestMetrics;
  #heardMs = systemClock.monotonicMs();
  #ingester: ConsoleIngester | null = null;

  constructor(config: Config) {
    this.#metrics = new IngestMetrics({
      clock: systemClock,
      bufferCapacityTicks: config.bufferTicks,
      bufferCapacityBytes: config.bufferBytes,
    });
  }

  attach(ingester: ConsoleIngester): void {
    this.#ingester = ingester;
  }

  health(): { failingThreads: readonly string[] } {
    return { failingThreads: systemClock.monotonicMs() - this.#heardMs > SILENCE_MS ? ['reader'] : [] };
  }

  ready(verbose: boolean): { reasons: readonly ReadyReason[]; details?: Readonly<Record<string, unknown>> } {
    const reasons: ReadyReason[] =
      this.#ingester === null ? ['stream'] : streamReasons(this.#ingester.stream);
    if (!verbose) return { reasons };
    return { reasons, details: { stream: this.#ingester?.stream, head: this.#ingester?.head ?? null } };
  }

  metrics(): Promise<string> {
    this.#metrics.logLinesDropped(logLosses.lines);
    this.#metrics.set('tick_ingester_ready', {}, this.ready(false).reasons.length === 0 ? 1 : 0);
    this.#metrics.set('tick_ingester_buffer_size', {}, this.#ingester?.bufferedTicks ?? 0);
    return this.#metrics.render();
  }

  printed(ticks: number): void {
    this.#metrics.count('tick_ingester_ticks_total', { status: 'success' }, ticks);
  }

  refused(): void {
    this.#metrics.count('tick_ingester_ticks_total', { status: 'error' });
  }

  threadStats(thread: string, stats: ThreadStats): void {
    this.#heardMs = systemClock.monotonicMs();
    this.#metrics.threadReported(thread, stats);
  }

  readerStats(stats: ReaderStats): void {
    this.#metrics.reconnected(stats.reconnects);
    this.#metrics.countTotal(
      'tick_ingester_duplicates_total',
      { cause: 'stream' },
      'reader',
      stats.counts.repeated,
    );
  }
}
