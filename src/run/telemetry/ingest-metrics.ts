/** What HEALTH_CHECK_PORT serves under /metrics: the seed's names exactly, and what operators need beside them. */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Clock } from '../../core/time.ts';
import { FillMetrics } from './fill-metrics.ts';
import { SlidingQuantiles, WeightedHistogram } from './histogram.ts';
import { FedCounter } from './monotonic-feed.ts';
import { RepeatMetrics } from './repeat-metrics.ts';
import { ThreadMetrics } from './counters.ts';

/** Parts of the daemon that try again; each is a series of retries_total from the start. */
export const RETRY_COMPONENTS = ['database', 'grpc', 'lease', 'parser', 'retention', 'writer'] as const;
export type RetryComponent = (typeof RETRY_COMPONENTS)[number];

const GAP_STATES = ['open', 'filled', 'unfillable', 'skipped'] as const;
type GapState = (typeof GAP_STATES)[number];

const DEAD_LETTER_STATUSES = ['unresolved', 'resolved'] as const;
type DeadLetterStatus = (typeof DEAD_LETTER_STATUSES)[number];

const HALTS = ['poison', 'forked'] as const;

const ALARM_KINDS = ['link', 'tx_hash', 'batch_hash', 'vdf_input', 'vdf_output'] as const;

export type Edition = 'plain' | 'apache' | 'community';

/** A batch whose COMMIT is known to have happened. */
export interface CommittedBatch {
  ticks: number;
  transactions: number;
  /** of its frames on the wire */
  bytes: number;
  /** what the chain check found, by kind */
  alarms: Readonly<Partial<Record<(typeof ALARM_KINDS)[number], number>>>;
  /** BEGIN to the answer of COMMIT */
  writeMs: number;
  /** ages at the commit, since the frame came from the stream, of ticks spread evenly over the batch */
  agesMs: readonly number[];
}

export interface Progress {
  /** end of the contiguous prefix; null before the first tick */
  position: bigint | null;
  /** below the lowest open gap */
  completeUpTo: bigint | null;
  /** newest tick known to exist */
  head: bigint | null;
  /** wall clock minus the timestamp of the newest committed tick */
  lagMs: number;
}

export interface IngestMetricsOptions {
  clock: Clock;
  bufferCapacityTicks: number;
  bufferCapacityBytes: number;
}

const WRITE_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
const LATENCY_SECONDS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300,
];
const BATCH_TICKS = [1, 10, 50, 100, 250, 500, 1000, 2000, 4000, 10_000, 100_000];
const LATENCY_WINDOW_SECONDS = 10;

export class IngestMetrics {
  readonly #registry = new Registry();
  readonly filling = new FillMetrics(this.#registry);
  readonly repeats = new RepeatMetrics(this.#registry);
  readonly threads = new ThreadMetrics(this.#registry);
  readonly #clock: Clock;
  readonly #latencyWindow = new SlidingQuantiles(LATENCY_WINDOW_SECONDS);

  readonly #ticks = this.#counter(
    'tick_ingester_ticks_total',
    'Ticks by outcome: stored, or kept as a dead letter.',
    ['status'],
  );
  readonly #ambiguous = this.#counter(
    'tick_ingester_ambiguous_commits_total',
    'COMMITs whose answer was lost, by what the ledger said afterwards.',
    ['outcome'],
  );
  readonly #retries = this.#counter('retries_total', 'Attempts after the first, by component.', [
    'component',
  ]);
  readonly #transactions = this.#counter('tick_ingester_transactions_total', 'Stored transactions.', []);
  readonly #bytes = this.#counter('tick_ingester_bytes_total', 'Bytes of committed frames on the wire.', []);
  readonly #linkBreaks = this.#counter(
    'tick_ingester_link_breaks_total',
    'Stored ticks whose previous_output is not the output of the tick before.',
    [],
  );
  readonly #chainAlarms = this.#counter(
    'tick_ingester_chain_alarms_total',
    'What CHAIN_CHECK found in stored ticks: one for a tick and kind.',
    ['kind'],
  );
  readonly #batches = this.#counter('tick_ingester_batches_total', 'Committed batches.', []);
  readonly #reconnects = this.#counter(
    'tick_ingester_grpc_reconnects_total',
    'Streams opened after the first one.',
    [],
  );

  readonly #writeSeconds = new Histogram({
    name: 'tick_ingester_write_duration_seconds',
    help: 'BEGIN to the answer of COMMIT, by batch.',
    buckets: WRITE_SECONDS,
    registers: [this.#registry],
  });
  readonly #batchTicks = new Histogram({
    name: 'tick_ingester_batch_ticks',
    help: 'Ticks of a committed batch.',
    buckets: BATCH_TICKS,
    registers: [this.#registry],
  });
  readonly #latency = new WeightedHistogram(
    'tick_ingester_commit_latency_seconds',
    'From the stream to the commit, by tick.',
    LATENCY_SECONDS,
  );

  readonly #bufferTicks = this.#gauge('tick_ingester_buffer_size', 'Ticks in the ring.', []);
  readonly #bufferBytes = this.#gauge('tick_ingester_buffer_bytes', 'Bytes in the ring.', []);
  readonly #position = this.#gauge(
    'tick_ingester_position',
    'End of the contiguous prefix of what is recorded.',
    [],
  );
  readonly #completeUpTo = this.#gauge(
    'tick_ingester_complete_up_to',
    'Last tick below the lowest open gap.',
    [],
  );
  readonly #lagTicks = this.#gauge(
    'tick_ingester_head_lag_ticks',
    'Ticks that exist and are not yet recorded.',
    [],
  );
  readonly #lagSeconds = this.#gauge(
    'tick_ingester_head_lag_seconds',
    'Age of the newest committed tick.',
    [],
  );
  readonly #gaps = this.#gauge('tick_ingester_gaps', 'Rows of ingest_gaps by state.', ['state']);
  readonly #deadLetters = this.#gauge('tick_ingester_dead_letters', 'Rows of dead_letters by status.', [
    'status',
  ]);
  readonly #leader = this.#gauge('tick_ingester_leader', '1 while this process holds the lease.', []);
  readonly #epoch = this.#gauge('tick_ingester_epoch', 'Epoch of the lease that this process saw last.', []);
  readonly #halted = this.#gauge(
    'tick_ingester_halted',
    '1 while ingestion waits for an operator (tick-ingester resume), by why.',
    ['halt'],
  );
  readonly #ready = this.#gauge('tick_ingester_ready', '1 while /ready answers 200.', []);
  readonly #edition = this.#gauge(
    'tick_ingester_database_edition_info',
    'Kind and version of TimescaleDB; always 1.',
    ['edition', 'version'],
  );

  /** Streams opened again. Fed by the reader. */
  readonly grpcReconnects = new FedCounter((delta) => this.#reconnects.inc(delta));
  /** Ticks that became dead letters: status="error". */
  readonly ticksFailed = new FedCounter((delta) => this.#ticks.inc({ status: 'error' }, delta));
  readonly ambiguousCommitted = new FedCounter((delta) =>
    this.#ambiguous.inc({ outcome: 'committed' }, delta),
  );
  readonly ambiguousAbsent = new FedCounter((delta) => this.#ambiguous.inc({ outcome: 'absent' }, delta));
  readonly #retryCounters = new Map(
    RETRY_COMPONENTS.map((component) => [
      component,
      new FedCounter((delta) => this.#retries.inc({ component }, delta)),
    ]),
  );

  constructor(options: IngestMetricsOptions) {
    this.#clock = options.clock;
    this.#registry.registerMetric(this.#latency.asMetric());
    this.#gauge('tick_ingester_buffer_capacity_ticks', 'BUFFER_SIZE.', []).set(options.bufferCapacityTicks);
    this.#gauge('tick_ingester_buffer_capacity_bytes', 'BUFFER_BYTES.', []).set(options.bufferCapacityBytes);
    this.#quantileGauges();
    collectDefaultMetrics({ register: this.#registry });
    // Series of known labels exist from the start: a rate over a series that appears with its first error misses it.
    for (const status of ['success', 'error']) this.#ticks.inc({ status }, 0);
    for (const outcome of ['committed', 'absent']) this.#ambiguous.inc({ outcome }, 0);
    for (const component of RETRY_COMPONENTS) this.#retries.inc({ component }, 0);
    for (const kind of ALARM_KINDS) this.#chainAlarms.inc({ kind }, 0);
    for (const state of GAP_STATES) this.#gaps.set({ state }, 0);
    for (const status of DEAD_LETTER_STATUSES) this.#deadLetters.set({ status }, 0);
    this.setHalt(null);
  }

  /** Counts a batch everywhere it counts: ticks, batches, sizes, write time and latency. Once per committed batch. */
  batchCommitted(batch: CommittedBatch): void {
    this.#ticks.inc({ status: 'success' }, batch.ticks);
    this.#batches.inc();
    this.#batchTicks.observe(batch.ticks);
    this.#writeSeconds.observe(batch.writeMs / 1000);
    this.#transactions.inc(batch.transactions);
    this.#bytes.inc(batch.bytes);
    this.#linkBreaks.inc(batch.alarms.link ?? 0);
    for (const kind of ALARM_KINDS) this.#chainAlarms.inc({ kind }, batch.alarms[kind] ?? 0);
    const nowMs = this.#clock.monotonicMs();
    const weight = batch.ticks / batch.agesMs.length;
    for (const ageMs of batch.agesMs) {
      this.#latency.observe(ageMs / 1000, weight);
      this.#latencyWindow.observe(nowMs, ageMs, weight);
    }
  }

  /** Console mode: what was printed counts as success. */
  ticksPrinted(ticks: number): void {
    this.#ticks.inc({ status: 'success' }, ticks);
  }

  retries(component: RetryComponent): FedCounter {
    return this.#retryCounters.get(component)!;
  }

  setBuffer(ticks: number, bytes: number): void {
    this.#bufferTicks.set(ticks);
    this.#bufferBytes.set(bytes);
  }

  setProgress({ position, completeUpTo, head, lagMs }: Progress): void {
    this.#position.set(Number(position ?? 0n));
    this.#completeUpTo.set(Number(completeUpTo ?? 0n));
    const behind = head === null || position === null ? 0n : head - position;
    this.#lagTicks.set(Number(behind > 0n ? behind : 0n));
    this.#lagSeconds.set(Math.max(0, lagMs / 1000));
  }

  setGaps(counts: Readonly<Partial<Record<GapState, number>>>): void {
    for (const state of GAP_STATES) this.#gaps.set({ state }, counts[state] ?? 0);
  }

  setDeadLetters(counts: Readonly<Partial<Record<DeadLetterStatus, number>>>): void {
    for (const status of DEAD_LETTER_STATUSES) this.#deadLetters.set({ status }, counts[status] ?? 0);
  }

  setLeader(leader: boolean, epoch: bigint): void {
    this.#leader.set(leader ? 1 : 0);
    this.#epoch.set(Number(epoch));
  }

  /** `version` of the extension, '' without it */
  setEdition(edition: Edition, version: string): void {
    this.#edition.reset();
    this.#edition.set({ edition, version }, 1);
  }

  setHalt(halt: (typeof HALTS)[number] | null): void {
    for (const kind of HALTS) this.#halted.set({ halt: kind }, kind === halt ? 1 : 0);
  }

  setReady(ready: boolean): void {
    this.#ready.set(ready ? 1 : 0);
  }

  /** Latency stream → committed over the last 10 s; 0 when nothing was committed in them. */
  latencyMs(): { p50: number; p99: number } {
    const [p50, p99] = this.#latencyWindow.quantiles(this.#clock.monotonicMs(), 0.5, 0.99) as [
      number,
      number,
    ];
    return { p50, p99 };
  }

  /** Everything in Prometheus' text format 0.0.4. */
  render(): Promise<string> {
    return this.#registry.metrics();
  }

  #counter<T extends string>(name: string, help: string, labelNames: T[]): Counter<T> {
    return new Counter({ name, help, labelNames, registers: [this.#registry] });
  }

  #gauge<T extends string>(name: string, help: string, labelNames: T[]): Gauge<T> {
    return new Gauge({ name, help, labelNames, registers: [this.#registry] });
  }

  #quantileGauges(): void {
    for (const rank of ['p50', 'p99'] as const) {
      const gauge: Gauge = new Gauge({
        name: `tick_ingester_commit_latency_${rank}_seconds`,
        help: `${rank} from the stream to the commit over the last ${LATENCY_WINDOW_SECONDS} s.`,
        registers: [this.#registry],
        collect: () => gauge.set(this.latencyMs()[rank] / 1000),
      });
    }
  }
}
