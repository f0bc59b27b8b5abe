import type { Env } from '../../core/env.ts';
import type { Backpressure } from '../../core/bus/capacity.ts';
import { DEAD_LETTER_TOPIC } from '../../core/market/dead-letter.ts';
import { seriesOf, type Series } from '../../core/replay/position.ts';
import { readRequest, type ReplayRequest } from '../../core/replay/request.ts';
import type { Encoding, StreamBus } from '../../bus/bus.ts';
import { Publisher, PUBLISHER_LIMITS } from '../../bus/publisher.ts';
import { readFailure, type ReadPool } from '../../store/queries/read-pool.ts';
import type { ReplayStore } from '../../store/replay/replay-store.ts';
import type {
  ClaimedRun,
  ReplayHold,
  ReplayHoldEnd,
  ReplayOrders,
  ReplayState,
} from '../../store/replay/runs.ts';
import { currentSnapshot, readReplayPage } from '../../store/replay/ticks.ts';
import type { Meter } from '../../stream/meter.ts';
import { retrying } from '../../stream/retry.ts';
import { RunDigest } from './digest.ts';
import { RunHold } from './hold.ts';
import { fromOf, MergedPages } from './merged-pages.ts';
import { ReplayReport } from './report.ts';
import { Segment } from './segment.ts';
import { SourcePages } from './source-pages.ts';

export interface ReplayRunOptions {
  store: ReplayStore;
  reads: ReadPool;
  bus: Pick<StreamBus, 'kind' | 'publish'>;
  /** where runs go that name no topic */
  topic: string;
  encoding: Encoding;
  backpressure: Backpressure;
  env: Env;
  meter: Meter;
}

/** Everything is emitted. */
interface Done {
  /** null: it is not known */
  digest: string | null;
}

/** How a run ended here. */
export type ReplayEnd = 'success' | 'failed' | 'cancelled' | 'paused' | 'given back' | 'lost';

const BACKOFF = { firstMs: 100, maxMs: 5_000 };
/** What is left when a run is given back has so long to reach the bus, ms: it is emitted again otherwise. */
const DRAIN_MS = 5_000;

/** A claimed run, from where it is until it ends, is paused, cancelled, or taken over. */
export class ReplayRun {
  readonly #options: ReplayRunOptions;
  readonly #hold: ReplayHold;
  readonly #request: ReplayRequest;
  readonly #series: readonly Series[];
  readonly #report: ReplayReport;
  readonly #lease: RunHold;
  readonly #stopping = new AbortController();
  #snapshot: string | null;
  #state: ReplayState;
  #orders: ReplayOrders;
  #isLost = false;
  #segment: Segment | null = null;
  #interrupt = new AbortController();

  /** @param claimedMs when the claim was sent, monotonic */
  constructor(claimed: ClaimedRun, claimedMs: number, options: ReplayRunOptions) {
    const { runId, epoch, orders, state, snapshot, fields } = claimed;
    this.#options = options;
    this.#hold = { runId, epoch };
    this.#request = readRequest(fields);
    this.#series = seriesOf(this.#request.providers, this.#request.symbols);
    this.#report = new ReplayReport(options.meter, runId, this.#series);
    this.#snapshot = snapshot;
    this.#state = state;
    this.#orders = orders;
    this.#lease = new RunHold(
      {
        store: options.store,
        hold: this.#hold,
        env: options.env,
        stateOf: () => this.#segment?.state ?? this.#state,
        ordered: (wanted) => this.#ordered(wanted),
      },
      claimedMs,
    );
  }

  get runId(): bigint {
    return this.#hold.runId;
  }

  /** It is given back: somebody else may go on. */
  stop(): void {
    this.#stopping.abort();
    this.#interrupt.abort();
  }

  /** Resolves with how it ended here; what went wrong is in its row. */
  async run(): Promise<ReplayEnd> {
    const { env } = this.#options;
    this.#lease.start();
    let failure: Error | null = null;
    let done: Done | null = null;
    try {
      done = await this.#segments();
    } catch (error) {
      failure = error as Error;
    }
    await this.#lease.stop();
    this.#report.lag(0);
    const end = this.#endOf(done, failure);
    if (end === 'failed') {
      this.#report.failed();
      env.log('error', 'TickReplayer: The run failed', { run_id: this.#label, err: failure });
    }
    await this.#storeEnd(end, failure, done?.digest ?? null);
    env.log('info', 'TickReplayer: The run ended', { run_id: this.#label, end, ticks: this.#state.emitted });
    return end;
  }

  get #label(): number {
    return Number(this.#hold.runId);
  }

  #endOf(done: Done | null, failure: Error | null): ReplayEnd {
    if (this.#isLost) return 'lost';
    const { status } = this.#orders;
    if (status === 'cancelled') return status;
    if (done !== null) return 'success';
    if (failure !== null && !this.#stopping.signal.aborted) return 'failed';
    // one that was paused and resumed at once is claimed again
    return status === 'paused' ? status : 'given back';
  }

  /** Retried while the database is away; a daemon that is stopped does not wait for it: the lease expires. */
  async #storeEnd(end: ReplayEnd, failure: Error | null, digest: string | null): Promise<void> {
    if (end === 'lost') return;
    const hold: ReplayHoldEnd =
      end === 'success' || end === 'failed'
        ? { kind: 'ended', status: end, error: failure?.message ?? null, digest }
        : { kind: 'given back' };
    const { store } = this.#options;
    await this.#untilAnswered(() => store.store(this.#hold, this.#state, hold)).catch(() => {});
  }

  /** Null: it was interrupted. */
  async #segments(): Promise<Done | null> {
    const { env, reads, store } = this.#options;
    if (this.#snapshot === null) {
      this.#snapshot = await this.#untilAnswered(() => reads.run(currentSnapshot));
      await this.#untilAnswered(() => store.keepSnapshot(this.#hold, this.#snapshot ?? ''));
    }
    const { emitted } = this.#state;
    env.log('info', emitted === 0 ? 'TickReplayer: A run begins' : 'TickReplayer: A run goes on', {
      run_id: this.#label,
      ticks: emitted,
      speed: this.#orders.speed,
    });
    while (!this.#isOver) {
      this.#interrupt = new AbortController();
      this.#seek();
      const { digestState } = this.#state;
      const digest = await RunDigest.from(this.#state.emitted === 0 ? undefined : digestState);
      if (await this.#emit(digest)) return { digest: digest.end() };
    }
    return null;
  }

  get #isOver(): boolean {
    return this.#isLost || this.#stopping.signal.aborted || this.#orders.status !== 'running';
  }

  /** True: everything is emitted. */
  async #emit(digest: RunDigest): Promise<boolean> {
    const publisher = this.#makePublisher();
    const segment = new Segment({
      runId: this.#hold.runId,
      series: this.#series,
      interval: this.#request.interval,
      encoding: this.#options.encoding,
      state: this.#state,
      speed: this.#orders.speed,
      pages: this.#pages(),
      digest,
      publisher,
      report: this.#report,
      env: this.#options.env,
      isHeld: () => this.#lease.isHeld,
    });
    this.#segment = segment;
    try {
      return await segment.run(this.#interrupt.signal);
    } finally {
      await publisher.stop();
      this.#state = segment.state;
      this.#segment = null;
    }
  }

  /** What was sought and not done: it goes on there. */
  #seek(): void {
    const { seeks, seekUs } = this.#orders;
    if (this.#state.seeksDone === seeks || seekUs === null) return;
    this.#state = { ...this.#state, position: null, playheadUs: seekUs, seeksDone: seeks };
  }

  #pages(): MergedPages {
    const { sources, startUs, pageRows } = this.#request;
    const { position, playheadUs } = this.#state;
    // without a position it was sought, or begins
    const fromUs = position === null ? (playheadUs ?? startUs) : startUs;
    return new MergedPages(
      sources.map((source) => {
        const query = {
          source,
          series: this.#series,
          request: this.#request,
          snapshot: this.#snapshot ?? '',
        };
        return new SourcePages({
          source,
          series: this.#series,
          from: fromOf(source, position, fromUs, pageRows),
          read: (from) =>
            this.#untilAnswered(() =>
              this.#options.reads.run((client) => readReplayPage(client, query, from)),
            ),
        });
      }),
    );
  }

  #makePublisher(): Publisher {
    const { bus, topic, backpressure, meter, env } = this.#options;
    const target = this.#request.topic ?? topic;
    return new Publisher({
      bus,
      topic: target,
      deadLetterTopic: DEAD_LETTER_TOPIC,
      backpressure,
      limits: { ...PUBLISHER_LIMITS, drainMs: DRAIN_MS },
      published: (provider, records) =>
        meter.count('stream_events_ingested_total', { bus: bus.kind, topic: target, provider }, records),
      failed: () => this.#report.failed(),
      env,
    });
  }

  #ordered(orders: ReplayOrders | null): void {
    if (orders === null) this.#isLost = true;
    else {
      const { speed } = this.#orders;
      this.#orders = orders;
      if (orders.speed !== speed) this.#segment?.changeSpeed(orders.speed);
    }
    if (this.#isOver || this.#orders.seeks !== this.#state.seeksDone) this.#interrupt.abort();
    this.#report.lag(this.#segment?.lagMs ?? 0);
  }

  #untilAnswered<T>(call: () => Promise<T>): Promise<T> {
    const { env } = this.#options;
    return retrying(call, {
      mayPass: (error) => !this.#isLost && readFailure(error) !== null,
      backoff: BACKOFF,
      random: env.random,
      signal: this.#stopping.signal,
      onRetry: (err, waitMs) => {
        this.#report.failed();
        env.log('warn', 'TickReplayer: The database does not answer (will try again)', {
          run_id: this.#label,
          err,
          retry_ms: waitMs,
        });
      },
    });
  }
}
