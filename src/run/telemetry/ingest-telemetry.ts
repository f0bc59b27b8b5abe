import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { ChainAlarmKind } from '../../core/copy/transcode.ts';
import { formatMicros, systemClock } from '../../core/time.ts';
import type { Audited, ReplacedTick } from '../../ingest/leader/auditor.ts';
import type { Ingester } from '../../ingest/ingester.ts';
import type { CommittedBatch } from '../../ingest/pipeline/commit.ts';
import type { ReaderStats } from '../../ingest/reader/reader-thread.ts';
import type { IngestObserver } from '../../ingest/observer.ts';
import type { IncidentCounts } from '../../ingest/leader/ledger-client.ts';
import { threadStats, type ThreadStats } from '../../ingest/thread-stats.ts';
import type { WriterStats } from '../../ingest/writer/writer-thread.ts';
import type { EditionInfo } from '../../store/postgres/server-info.ts';
import type { Config } from '../config/load.ts';
import type { Probe, ReadyReason } from './http.ts';
import type { Log } from './log.ts';
import { logLosses } from './log/sink.ts';
import { IngestMetrics, type RetryComponent } from './ingest-metrics.ts';
import { notReadyReasons } from './readiness.ts';

/** Alarms per batch that are logged in full; chain_alarms has all of them. */
const ALARMS_SHOWN = 3;
/** A thread that was silent for this long is hung. */
const SILENCE_MS = 15_000;
/** conflicts, and bad frames, per packet that get their own log line */
const CONFLICTS_LOGGED = 5;

/** Turns everything the ingester reports into metrics, log lines and probe answers. */
export class Telemetry implements Probe, IngestObserver {
  readonly #metrics: IngestMetrics;
  readonly #log: Log;
  readonly #heardMs = new Map<string, number>();
  readonly #delay = monitorEventLoopDelay();
  #edition: EditionInfo | null = null;
  #lastTimestampMicros = 0n;
  #withoutIngest: readonly ReadyReason[] | null = null;
  ingester: Ingester | null = null;
  /** stages on the bus whose threads are silent */
  failingStages: () => readonly string[] = () => [];

  constructor(config: Config, log: Log) {
    this.#log = log;
    this.#delay.enable();
    this.#metrics = new IngestMetrics({
      clock: systemClock,
      bufferCapacityTicks: config.bufferTicks,
      bufferCapacityBytes: config.bufferBytes,
    });
  }

  attach(ingester: Ingester): void {
    this.ingester = ingester;
  }

  close(): void {
    this.#heardMs.clear();
    this.#delay.disable();
  }

  // --- Probe ---

  health(): { failingThreads: readonly string[] } {
    const nowMs = systemClock.monotonicMs();
    const failingThreads = [...this.#heardMs]
      .filter(([, heard]) => nowMs - heard > SILENCE_MS)
      .map(([thread]) => thread);
    const parsing = this.ingester?.oldestParseMs ?? 0;
    if (parsing > SILENCE_MS) failingThreads.push('parser');
    return { failingThreads: [...failingThreads, ...this.failingStages()] };
  }

  ready(verbose: boolean): { reasons: readonly ReadyReason[]; details?: Readonly<Record<string, unknown>> } {
    const reasons = this.#reasons();
    return verbose ? { reasons, details: this.#details() } : { reasons };
  }

  /** The database as seen by a daemon without the stage ingest; [] = ready. */
  withoutIngest(reasons: readonly ReadyReason[]): void {
    this.#withoutIngest = reasons;
  }

  #reasons(): readonly ReadyReason[] {
    return this.#withoutIngest ?? notReadyReasons(this.ingester?.status ?? null);
  }

  metrics(): Promise<string> {
    this.#refresh();
    return this.#metrics.render();
  }

  // --- what the ingester reports ---

  committed(batch: CommittedBatch): void {
    this.#metrics.batchCommitted({
      ticks: batch.ticks,
      transactions: batch.transactions,
      bytes: batch.bytes,
      alarms: countAlarms(batch),
      writeMs: batch.durationMs,
      agesMs: batch.latenciesMs,
    });
    if (batch.fills && batch.range !== null) {
      const filled = Number(batch.range.last - batch.range.first) + 1;
      this.#metrics.count('tick_ingester_gap_ticks_filled_total', {}, filled);
    }
    this.#metrics.count('tick_ingester_ticks_total', { status: 'error' }, batch.deadLetters);
    const outcome = batch.resolved ? 'committed' : 'absent';
    this.#metrics.count('tick_ingester_ambiguous_commits_total', { outcome }, batch.ambiguous);
    if (batch.lastTimestampMicros > this.#lastTimestampMicros)
      this.#lastTimestampMicros = batch.lastTimestampMicros;
    this.#log.info(
      {
        tick_count: batch.ticks,
        first_tick: batch.range?.first ?? null,
        last_tick: batch.range?.last ?? null,
        transactions: batch.transactions,
        duration_ms: Math.round(batch.durationMs * 10) / 10,
        ...(batch.deadLetters > 0 ? { dead_letters: batch.deadLetters } : {}),
      },
      'Wrote batch to TimescaleDB',
    );
    for (const gap of batch.gaps) {
      this.#log.warn({ first_tick: gap.first, last_tick: gap.last }, 'Gap recorded');
    }
    if (batch.isolated !== null) {
      const { tick, reason, sqlstate, detail } = batch.isolated;
      this.#log.error({ tick, reason, sqlstate, detail }, 'The database refuses a tick');
    }
    this.#logAlarms(batch);
  }

  /** One line per batch, however much of the chain is broken. */
  #logAlarms(batch: CommittedBatch): void {
    const counts = countAlarms(batch);
    const kinds = Object.entries(counts).filter(([, count]) => count > 0);
    if (kinds.length === 0) return;
    const found = batch.alarms.slice(0, ALARMS_SHOWN).map(({ tickNumber, kind, detail }) => ({
      tick: tickNumber,
      kind,
      detail,
    }));
    this.#log.error(
      {
        first_tick: batch.range?.first ?? null,
        last_tick: batch.range?.last ?? null,
        ...Object.fromEntries(kinds),
        found,
      },
      (counts.link ?? 0) > 0 ? 'Broken link in the chain' : 'A tick contradicts itself',
    );
  }

  threadStats(thread: string, stats: ThreadStats): void {
    // a parser reports only after it has worked; its work in progress is watched instead
    if (thread !== 'main' && !thread.startsWith('parser'))
      this.#heardMs.set(thread, systemClock.monotonicMs());
    this.#metrics.threadReported(thread, stats);
  }

  readerStats(stats: ReaderStats): void {
    this.#metrics.reconnected(stats.reconnects);
    for (const result of ['found', 'missing', 'failed'] as const)
      this.#metrics.countTotal(
        'tick_ingester_gap_requests_total',
        { result },
        'reader',
        stats.filling[result],
      );
  }

  writerStats(index: number, stats: WriterStats): void {
    this.#metrics.countTotal('retries_total', { component: 'writer' }, `writer-${index}`, stats.retries);
  }

  audited({ repeated, resumed, unwanted, replaced, bad, conflicts }: Audited): void {
    this.#metrics.count('tick_ingester_duplicates_total', { cause: 'stream' }, repeated);
    this.#metrics.count('tick_ingester_duplicates_total', { cause: 'resume' }, resumed);
    this.#metrics.count('tick_ingester_duplicates_total', { cause: 'unwanted' }, unwanted);
    this.#replaced(replaced);
    this.#metrics.count('tick_ingester_ticks_total', { status: 'error' }, bad.length);
    for (const { tickNumber, reason, detail } of bad.slice(0, CONFLICTS_LOGGED)) {
      this.#log.warn({ tick: tickNumber, reason, detail }, 'A tick came again with content that is bad');
    }
    this.#metrics.count('tick_ingester_conflicts_total', {}, conflicts.length);
    for (const { tickNumber, detail } of conflicts.slice(0, CONFLICTS_LOGGED)) {
      this.#log.error(
        { tick: tickNumber, detail },
        'A tick came again with other content; the stored one stays',
      );
    }
    if (conflicts.length > CONFLICTS_LOGGED)
      this.#log.error({ more: conflicts.length - CONFLICTS_LOGGED }, 'Further ticks came with other content');
  }

  #replaced(ticks: readonly ReplacedTick[]): void {
    for (const { tickNumber: tick, transactions, deadLetters, alarms, brokenLinks } of ticks) {
      this.#metrics.tickReplaced({ transactions, alarms: countAlarms({ alarms, linkBreaks: brokenLinks }) });
      const fields = { tick, transactions, dead_letters: deadLetters };
      this.#log.info(fields, 'A good tick came for a dead letter and is stored');
    }
  }

  incidents({ gaps, deadLetters }: IncidentCounts): void {
    this.#metrics.setEach('tick_ingester_gaps', Object.fromEntries(gaps));
    this.#metrics.setEach('tick_ingester_dead_letters', {
      unresolved: deadLetters.get('open') ?? 0,
      resolved: deadLetters.get('resolved') ?? 0,
    });
  }

  edition(edition: EditionInfo): void {
    this.#edition = edition;
    this.#metrics.setInfo('tick_ingester_database_edition_info', {
      edition: edition.edition,
      version: edition.timescale ?? '',
    });
  }

  retried(component: RetryComponent): void {
    this.#metrics.count('retries_total', { component });
  }

  /** Latency stream → committed over the last seconds, ms. */
  latencyMs(): { p50: number; p99: number } {
    return this.#metrics.latencyMs();
  }

  #refresh(): void {
    // the main thread needs no heartbeat: it is the one that answers
    this.threadStats('main', threadStats(this.#delay));
    const status = this.ingester?.status;
    this.#metrics.logLinesDropped(logLosses.lines);
    this.#metrics.set('tick_ingester_ready', {}, this.#reasons().length === 0 ? 1 : 0);
    if (status === undefined) return;
    this.#metrics.set('tick_ingester_buffer_size', {}, status.ring.ticks);
    this.#metrics.set('tick_ingester_buffer_bytes', {}, status.ring.bytes);
    const aheadMs = status.clockAheadMs ?? 0;
    this.#metrics.setProgress({
      position: status.position,
      completeUpTo: status.completeUpTo,
      head: status.head === null || (status.highest ?? -1n) > status.head ? status.highest : status.head,
      lagMs:
        this.#lastTimestampMicros === 0n
          ? 0
          : Number(systemClock.nowMicros() - this.#lastTimestampMicros) / 1000 - aheadMs,
    });
    this.#metrics.set('tick_ingester_clock_ahead_seconds', {}, aheadMs / 1000);
    this.#metrics.setEach('tick_ingester_halted', status.halt === null ? {} : { [status.halt.kind]: 1 });
    this.#metrics.set('tick_ingester_leader', {}, status.leadership.kind === 'leading' ? 1 : 0);
    this.#metrics.set('tick_ingester_epoch', {}, Number(status.epoch ?? 0n));
  }

  #details(): Record<string, unknown> {
    const status = this.ingester?.status;
    return {
      edition: this.#edition,
      latency_ms: this.latencyMs(),
      last_timestamp: this.#lastTimestampMicros === 0n ? null : formatMicros(this.#lastTimestampMicros),
      ...(status === undefined
        ? {}
        : {
            position: status.position,
            complete_up_to: status.completeUpTo,
            head: status.head,
            highest_read: status.highest,
            epoch: status.epoch,
            leadership: status.leadership.kind,
            stream: status.stream,
            halt: status.halt,
            clock_ahead_ms: status.clockAheadMs,
            database_trouble: Object.fromEntries(status.databaseTrouble),
            open_gaps: status.openGaps.slice(0, 20),
            open_gap_count: status.openGaps.length,
            ring: status.ring,
          }),
    };
  }
}

/** By kind; of broken links at the ends of the batch's range only the count is known. */
function countAlarms({
  alarms,
  linkBreaks,
}: Pick<CommittedBatch, 'alarms' | 'linkBreaks'>): Partial<Record<ChainAlarmKind, number>> {
  const counts: Partial<Record<ChainAlarmKind, number>> = {};
  for (const { kind } of alarms) counts[kind] = (counts[kind] ?? 0) + 1;
  if (linkBreaks > 0) counts.link = linkBreaks;
  return counts;
}
