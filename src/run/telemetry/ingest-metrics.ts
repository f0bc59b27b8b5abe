/** What HEALTH_CHECK_PORT serves under /metrics: the seed's names exactly, and what else operators need. */
import { collectDefaultMetrics } from 'prom-client';
import type { Clock } from '../../core/time.ts';
import type { ThreadStats } from '../../ingest/thread-stats.ts';
import { SlidingQuantiles } from './histogram.ts';
import { Metrics, type MetricTable } from './metric-table.ts';

/** Components that retry; each is a series of retries_total from the start. */
export const RETRY_COMPONENTS = [
  'compression',
  'database',
  'grpc',
  'lease',
  'parser',
  'retention',
  'writer',
] as const;
export type RetryComponent = (typeof RETRY_COMPONENTS)[number];

const ALARM_KINDS = ['link', 'tx_hash', 'batch_hash', 'vdf_input', 'vdf_output'] as const;

const WRITE_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
const LATENCY_SECONDS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300,
];
const BATCH_TICKS = [1, 10, 50, 100, 250, 500, 1000, 2000, 4000, 10_000, 100_000];
const LATENCY_WINDOW_SECONDS = 10;

const METRICS = {
  tick_ingester_gap_ticks_filled_total: {
    kind: 'counter',
    help: 'Numbers of gaps that came after all, as stored ticks or as dead letters.',
  },
  tick_ingester_gap_requests_total: {
    kind: 'counter',
    help: 'Ticks of gaps that the sequencer was asked for, by its answer; failed: none, or one without meaning.',
    labels: { result: ['found', 'missing', 'failed'] },
  },
  tick_ingester_duplicates_total: {
    kind: 'counter',
    help: 'Frames equal to a tick that is stored: repeated by the stream, or read again because we asked for it (a resume, a gap); or not wanted: below the first tick, or skipped.',
    labels: { cause: ['stream', 'resume', 'unwanted'] },
  },
  tick_ingester_conflicts_total: {
    kind: 'counter',
    help: 'Frames that say something else than the tick of their number that is stored. Alarm: the chain was rewritten.',
  },
  tick_ingester_thread_cpu_seconds_total: {
    kind: 'counter',
    help: 'User and system time by thread.',
    labels: { thread: [] },
  },
  tick_ingester_event_loop_delay_p99_seconds: {
    kind: 'gauge',
    help: 'p99 of the event-loop delay since the last report, by thread.',
    labels: { thread: [] },
  },
  stage_heartbeat_timestamp_seconds: {
    kind: 'gauge',
    help: 'When a thread of a stage last made progress or waited for a known reason.',
    labels: { stage: [], thread: [] },
  },
  tick_ingester_ticks_total: {
    kind: 'counter',
    help: 'Ticks by outcome: stored, or kept as a dead letter.',
    labels: { status: ['success', 'error'] },
  },
  tick_ingester_ambiguous_commits_total: {
    kind: 'counter',
    help: 'COMMITs whose answer was lost, by what the ledger said afterwards.',
    labels: { outcome: ['committed', 'absent'] },
  },
  retries_total: {
    kind: 'counter',
    help: 'Attempts after the first, by component.',
    labels: { component: RETRY_COMPONENTS },
  },
  log_lines_dropped_total: {
    kind: 'counter',
    help: 'Log lines that their destination did not take: a pipe that nobody reads, a full disk.',
  },
  tick_ingester_transactions_total: { kind: 'counter', help: 'Stored transactions.' },
  tick_ingester_bytes_total: { kind: 'counter', help: 'Bytes of committed frames on the wire.' },
  tick_ingester_link_breaks_total: {
    kind: 'counter',
    help: 'Stored ticks whose previous_output is not the output of the tick before.',
  },
  tick_ingester_chain_alarms_total: {
    kind: 'counter',
    help: 'What CHAIN_CHECK found in stored ticks: one for a tick and kind.',
    labels: { kind: ALARM_KINDS },
  },
  tick_ingester_batches_total: { kind: 'counter', help: 'Committed batches.' },
  tick_ingester_grpc_reconnects_total: { kind: 'counter', help: 'Streams opened after the first one.' },
  tick_ingester_write_duration_seconds: {
    kind: 'histogram',
    help: 'BEGIN to the answer of COMMIT, by batch.',
    buckets: WRITE_SECONDS,
  },
  tick_ingester_batch_ticks: {
    kind: 'histogram',
    help: 'Ticks of a committed batch.',
    buckets: BATCH_TICKS,
  },
  tick_ingester_buffer_size: { kind: 'gauge', help: 'Ticks in the ring.' },
  tick_ingester_buffer_bytes: { kind: 'gauge', help: 'Bytes in the ring.' },
  tick_ingester_position: { kind: 'gauge', help: 'End of the contiguous prefix of what is recorded.' },
  tick_ingester_complete_up_to: { kind: 'gauge', help: 'Last tick below the lowest open gap.' },
  tick_ingester_head_lag_ticks: { kind: 'gauge', help: 'Ticks that exist and are not yet recorded.' },
  tick_ingester_head_lag_seconds: { kind: 'gauge', help: 'Age of the newest committed tick.' },
  tick_ingester_gaps: {
    kind: 'gauge',
    help: 'Rows of ingest_gaps by state.',
    labels: { state: ['open', 'filled', 'unfillable', 'skipped'] },
  },
  tick_ingester_dead_letters: {
    kind: 'gauge',
    help: 'Rows of dead_letters by status.',
    labels: { status: ['unresolved', 'resolved'] },
  },
  tick_ingester_leader: { kind: 'gauge', help: '1 while this process holds the lease.' },
  tick_ingester_epoch: { kind: 'gauge', help: 'Epoch of the lease that this process saw last.' },
  tick_ingester_halted: {
    kind: 'gauge',
    help: '1 while ingestion waits for an operator (tick-ingester resume), by why.',
    labels: { halt: ['poison', 'forked'] },
  },
  tick_ingester_ready: { kind: 'gauge', help: '1 while /ready answers 200.' },
  tick_ingester_clock_ahead_seconds: {
    kind: 'gauge',
    help: "This machine's clock minus the database's, which decides what time is; seconds.",
  },
  tick_ingester_database_edition_info: {
    kind: 'gauge',
    help: 'Kind and version of TimescaleDB; always 1.',
    labels: { edition: [], version: [] },
  },
  tick_ingester_commit_latency_seconds: {
    kind: 'weighted histogram',
    help: 'From the stream to the commit, by tick.',
    buckets: LATENCY_SECONDS,
  },
  tick_ingester_buffer_capacity_ticks: { kind: 'gauge', help: 'BUFFER_SIZE.' },
  tick_ingester_buffer_capacity_bytes: { kind: 'gauge', help: 'BUFFER_BYTES.' },
  tick_ingester_commit_latency_p50_seconds: {
    kind: 'gauge',
    help: `p50 from the stream to the commit over the last ${LATENCY_WINDOW_SECONDS} s.`,
  },
  tick_ingester_commit_latency_p99_seconds: {
    kind: 'gauge',
    help: `p99 from the stream to the commit over the last ${LATENCY_WINDOW_SECONDS} s.`,
  },
} as const satisfies MetricTable;

/** The figures of a committed batch. */
export interface BatchFigures {
  ticks: number;
  transactions: number;
  /** of its frames on the wire */
  bytes: number;
  /** what the chain check found, by kind */
  alarms: Readonly<Partial<Record<(typeof ALARM_KINDS)[number], number>>>;
  /** BEGIN to the answer of COMMIT */
  writeMs: number;
  /** ages at the commit, since the frame's arrival, of ticks sampled evenly over the batch */
  agesMs: readonly number[];
}

export interface Progress {
  /** end of the contiguous prefix; null before the first tick */
  position: bigint | null;
  /** below the lowest open gap */
  completeUpTo: bigint | null;
  /** newest tick known to exist */
  head: bigint | null;
  /** the database's clock minus the timestamp of the newest committed tick */
  lagMs: number;
}

export interface IngestMetricsOptions {
  clock: Clock;
  /** BUFFER_SIZE */
  bufferCapacityTicks: number;
  bufferCapacityBytes: number;
}

/** The registry of the stage `ingest` and its process, and updates that touch several metrics at once. */
export class IngestMetrics extends Metrics<keyof typeof METRICS> {
  readonly #clock: Clock;
  readonly #latencyWindow = new SlidingQuantiles(LATENCY_WINDOW_SECONDS);

  constructor({ clock, bufferCapacityTicks, bufferCapacityBytes }: IngestMetricsOptions) {
    super(METRICS);
    this.#clock = clock;
    this.set('tick_ingester_buffer_capacity_ticks', {}, bufferCapacityTicks);
    this.set('tick_ingester_buffer_capacity_bytes', {}, bufferCapacityBytes);
    collectDefaultMetrics({ register: this.registry });
  }

  /** Records a batch in all its metrics: ticks, batches, sizes, write time and latency. Once per committed batch. */
  batchCommitted(batch: BatchFigures): void {
    this.count('tick_ingester_ticks_total', { status: 'success' }, batch.ticks);
    this.count('tick_ingester_batches_total', {});
    this.observe('tick_ingester_batch_ticks', {}, batch.ticks);
    this.observe('tick_ingester_write_duration_seconds', {}, batch.writeMs / 1000);
    this.count('tick_ingester_transactions_total', {}, batch.transactions);
    this.count('tick_ingester_bytes_total', {}, batch.bytes);
    this.#alarms(batch.alarms);
    const nowMs = this.#clock.monotonicMs();
    const weight = batch.ticks / batch.agesMs.length;
    for (const ageMs of batch.agesMs) {
      this.observe('tick_ingester_commit_latency_seconds', {}, ageMs / 1000, weight);
      this.#latencyWindow.observe(nowMs, ageMs, weight);
    }
  }

  /** A tick was stored by itself, in the place of a dead letter. */
  tickReplaced({ transactions, alarms }: Pick<BatchFigures, 'transactions' | 'alarms'>): void {
    this.count('tick_ingester_ticks_total', { status: 'success' });
    this.count('tick_ingester_transactions_total', {}, transactions);
    this.#alarms(alarms);
  }

  #alarms(alarms: BatchFigures['alarms']): void {
    this.count('tick_ingester_link_breaks_total', {}, alarms.link ?? 0);
    for (const kind of ALARM_KINDS)
      this.count('tick_ingester_chain_alarms_total', { kind }, alarms[kind] ?? 0);
  }

  /** A thread of ingest is alive; its CPU time starts at 0 again when it was restarted. */
  threadReported(thread: string, { cpuSeconds, loopDelaySeconds }: ThreadStats): void {
    this.set('tick_ingester_event_loop_delay_p99_seconds', { thread }, loopDelaySeconds);
    this.countTotal('tick_ingester_thread_cpu_seconds_total', { thread }, thread, cpuSeconds);
    const nowSeconds = Number(this.#clock.nowMicros()) / 1e6;
    this.set('stage_heartbeat_timestamp_seconds', { stage: 'ingest', thread }, nowSeconds);
  }

  /** @param total streams that the reader thread has opened after its first one, since it started */
  reconnected(total: number): void {
    this.countTotal('tick_ingester_grpc_reconnects_total', {}, 'reader', total);
    this.countTotal('retries_total', { component: 'grpc' }, 'reader', total);
  }

  /** @param total of this process */
  logLinesDropped(total: number): void {
    this.countTotal('log_lines_dropped_total', {}, 'log', total);
  }

  setProgress({ position, completeUpTo, head, lagMs }: Progress): void {
    this.set('tick_ingester_position', {}, Number(position ?? 0n));
    this.set('tick_ingester_complete_up_to', {}, Number(completeUpTo ?? 0n));
    const behind = head === null || position === null ? 0n : head - position;
    this.set('tick_ingester_head_lag_ticks', {}, Number(behind > 0n ? behind : 0n));
    this.set('tick_ingester_head_lag_seconds', {}, Math.max(0, lagMs / 1000));
  }

  /** Latency stream → committed over the last 10 s; 0 when nothing was committed in them. */
  latencyMs(): { p50: number; p99: number } {
    const [p50, p99] = this.#latencyWindow.quantiles(this.#clock.monotonicMs(), 0.5, 0.99) as [
      number,
      number,
    ];
    return { p50, p99 };
  }

  override render(): Promise<string> {
    const { p50, p99 } = this.latencyMs();
    this.set('tick_ingester_commit_latency_p50_seconds', {}, p50 / 1000);
    this.set('tick_ingester_commit_latency_p99_seconds', {}, p99 / 1000);
    return super.render();
  }
}
