import { envOf, type Env } from '../../core/env.ts';
import type { Backpressure } from '../../core/bus/capacity.ts';
import type { StreamBus } from '../../bus/bus.ts';
import type { OwnedPartition } from '../../bus/ownership.ts';
import {
  providersOf,
  type ProviderDeclarations,
  type Providers,
} from '../../core/market/identity/providers.ts';
import type { BarRules, LatePolicy } from '../../core/window/rules.ts';
import type { StoreClient } from '../../store/store-client.ts';
import { BarReport, COMPONENT } from './report.ts';
import { NO_METER, type Meter } from '../meter.ts';
import { PartitionBatcher } from './partition-batcher.ts';
import { ServerCalls } from '../server-calls.ts';
import { JobRun } from '../job-run.ts';
import { OwnedPartitions } from '../owned/partitions.ts';
import { StageLifecycle, type Stage } from '../stage.ts';

export interface MicroBatcherOptions {
  bus: StreamBus;
  storeClient: StoreClient;
  /** length of the windows, seconds (default 2): from 0.5, and a divisor of 60 */
  windowSeconds?: number;
  /** how far a tick may lag behind the newest one of its symbol and still find its window open, ms (default 500) */
  allowLateMs?: number;
  /** most events that one transaction covers (default 5,000) */
  maxBatchSize?: number;
  /** how long a closed window may wait for its transaction, ms (default 1,000) */
  flushTimeoutMs?: number;
  /** later ticks: revise (default) recomputes the bar from tick_data, drop counts the tick, dlq makes it a dead letter */
  late?: LatePolicy;
  /** revise: how old a window may be, by its symbol's event time, ms (default 24 h) */
  reviseHorizonMs?: number;
  /** a symbol's windows are closed after this long without an event, ms (default 5 s) */
  idleTimeoutMs?: number;
  /** default mdp-consumers */
  consumerGroup?: string;
  /** unique among the members of the group; default bars-1 */
  consumerName?: string;
  /** the tick consumer's group, which revise waits for; default tick-consumer */
  tickGroup?: string;
  /** default mdp.events */
  topic?: string;
  /** what is declared of providers; the tick consumer needs the same. Default: nothing */
  providers?: ProviderDeclarations;
  /** is told when the bus refuses a dead letter, or an event of the inbox, for want of room */
  backpressure?: Backpressure;
  meter?: Meter;
  /** default: no log, the machine's clock */
  env?: Partial<Env>;
}

/** the role that owns the group: any other is refused */
const ROLE = 'micro_batch';

/** @throws RangeError when a window is shorter than 0.5 s or does not divide a minute */
export function windowMsOf(seconds: number): number {
  const ms = seconds * 1000;
  if (!Number.isInteger(ms) || ms < 500 || 60_000 % ms !== 0) {
    throw new RangeError(`a window of ${seconds} s: it must be at least 0.5 s and divide a minute`);
  }
  return ms;
}

/**
 * The micro-batcher: turns market events into bars_ohlcv, each window exactly once, and the rollups 1m, 5m, 1h and 1d.
 * Members of the group share the partitions by leases (src/bus/ownership.ts), one PartitionBatcher each; surplus members
 * stand by.
 */
export class MicroBatcher implements Stage {
  readonly #options: MicroBatcherOptions;
  readonly #rules: BarRules;
  readonly #providers: Providers;
  readonly #topic: string;
  readonly #group: string;
  readonly #name: string;
  readonly #tickGroup: string;
  readonly #meter: Meter;
  readonly #env: Env;
  readonly #calls: ServerCalls;
  readonly #run: JobRun;
  readonly #report: BarReport;
  readonly #lifecycle: StageLifecycle;
  readonly #partitions: OwnedPartitions<PartitionBatcher>;

  constructor(options: MicroBatcherOptions) {
    this.#options = options;
    this.#rules = {
      windowMs: windowMsOf(options.windowSeconds ?? 2),
      allowLateMs: options.allowLateMs ?? 500,
      late: options.late ?? 'revise',
      reviseHorizonMs: options.reviseHorizonMs ?? 86_400_000,
      idleTimeoutMs: options.idleTimeoutMs ?? 5_000,
    };
    this.#providers = providersOf(options.providers);
    this.#topic = options.topic ?? 'mdp.events';
    this.#group = options.consumerGroup ?? 'mdp-consumers';
    this.#name = options.consumerName ?? 'bars-1';
    this.#tickGroup = options.tickGroup ?? 'tick-consumer';
    this.#meter = options.meter ?? NO_METER;
    this.#env = envOf(options.env);
    const common = { env: this.#env, meter: this.#meter };
    const { backpressure } = options;
    this.#calls = new ServerCalls({
      ...common,
      name: 'MicroBatcher',
      component: COMPONENT,
      backpressure,
    });
    const labels = { topic: this.#topic, group: this.#group, consumer: this.#name };
    this.#run = new JobRun({
      ...common,
      jobRuns: options.storeClient.jobRuns,
      stage: 'bars',
      start: { jobName: 'micro_batch', metadata: labels },
      onBeat: async () => {
        this.#gauges();
        this.#meter.set('stream_consumer_lag_ms', labels, await this.#partitions.lagMs());
      },
    });
    this.#report = new BarReport({ ...common, run: this.#run, windowMs: this.#rules.windowMs });
    const { bus, storeClient } = options;
    this.#partitions = new OwnedPartitions({
      bus,
      storeClient,
      topic: this.#topic,
      group: this.#group,
      role: ROLE,
      member: this.#name,
      name: 'MicroBatcher',
      providers: this.#providers,
      calls: this.#calls,
      makeWorker: (owned) => this.#makeBatcher(owned),
    });
    this.#lifecycle = new StageLifecycle(
      () => this.#work(),
      (failure) => this.#close(failure),
    );
  }

  get done(): Promise<void> {
    return this.#lifecycle.done;
  }

  start(): Promise<void> {
    return this.#lifecycle.start();
  }

  stop(): Promise<void> {
    return this.#lifecycle.stop();
  }

  async #work(): Promise<void> {
    const { stopping } = this.#lifecycle;
    this.#run.start();
    await this.#partitions.join(stopping);
    const { windowMs, late } = this.#rules;
    const fields = {
      topic: this.#topic,
      group: this.#group,
      consumer: this.#name,
      window_ms: windowMs,
      late,
    };
    this.#env.log('info', 'MicroBatcher started', fields);
    await this.#logWhatReviseNeeds();
    await this.#partitions.work();
  }

  /** Late events are corrected from what the tick consumer stores: without it they wait. */
  async #logWhatReviseNeeds(): Promise<void> {
    if (this.#rules.late !== 'revise') return;
    const groups = await this.#options.bus.groups(this.#topic).catch(() => null);
    const isThere = groups === null || groups.some(({ group }) => group === this.#tickGroup);
    this.#env.log(
      isThere ? 'info' : 'warn',
      `MicroBatcher: late events are corrected from tick_data behind the tick consumer (group ${this.#tickGroup}), which has to run` +
        (isThere ? '' : '; it never did'),
      { topic: this.#topic },
    );
  }

  #makeBatcher(owned: OwnedPartition): PartitionBatcher {
    const { bus, storeClient, maxBatchSize = 5_000, flushTimeoutMs = 1_000 } = this.#options;
    return new PartitionBatcher(owned, {
      bus,
      bars: storeClient.bars,
      topic: this.#topic,
      group: this.#group,
      member: this.#name,
      tickGroup: this.#tickGroup,
      rules: this.#rules,
      limits: { maxBatchSize, flushTimeoutMs },
      providers: this.#providers,
      env: this.#env,
      calls: this.#calls,
      report: this.#report,
    });
  }

  async #close(failure: Error | null): Promise<void> {
    await this.#partitions.close();
    await this.#run.finish(failure?.message ?? null);
    this.#env.log('info', 'MicroBatcher stopped', { group: this.#group, consumer: this.#name });
  }

  #gauges(): void {
    const labels = { topic: this.#topic, group: this.#group };
    const partitions = this.#partitions;
    this.#meter.set(
      'microbatch_active_windows',
      {},
      partitions.sum(({ activeWindows }) => activeWindows),
    );
    this.#meter.set(
      'microbatch_late_windows',
      {},
      partitions.sum(({ lateWindows }) => lateWindows),
    );
    const forwarded = partitions.sum((batcher) => batcher.takeForwarded());
    this.#meter.count('bus_forwarded_total', labels, forwarded);
  }
}
