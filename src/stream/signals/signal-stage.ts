import { envOf, type Env } from '../../core/env.ts';
import type { Backpressure } from '../../core/bus/capacity.ts';
import {
  providersOf,
  type ProviderDeclarations,
  type Providers,
} from '../../core/market/identity/providers.ts';
import { intervalName } from '../../core/market/interval.ts';
import type { RowRules } from '../../core/signal/symbol-rows.ts';
import type { StreamBus } from '../../bus/bus.ts';
import type { OwnedPartition } from '../../bus/ownership.ts';
import type { StoreClient } from '../../store/store-client.ts';
import { JobRun } from '../job-run.ts';
import { OwnedPartitions } from '../owned/partitions.ts';
import { NO_METER, type Meter } from '../meter.ts';
import { ServerCalls } from '../server-calls.ts';
import { StageLifecycle, type Stage } from '../stage.ts';
import type { Evaluator } from './evaluator.ts';
import type { StepLimits } from './pacing.ts';
import { PartitionSignals } from './partition-signals.ts';
import { SignalReport } from './report.ts';

/** What both stages that make signals are given. */
export interface SignalStageOptions {
  bus: StreamBus;
  storeClient: StoreClient;
  /** unique among the members of the group */
  consumerName: string;
  consumerGroup: string;
  /** default mdp.events */
  topic?: string;
  /** where signals are published; default mdp.signals */
  signalsTopic?: string;
  /** how far back tick_data is read for a symbol without a state, ms (default 24 h) */
  primeMs?: number;
  /** what is declared of providers; the tick consumer needs the same. Default: nothing */
  providers?: ProviderDeclarations;
  /** is told when the bus refuses a signal, or an event of the inbox, for want of room */
  backpressure?: Backpressure;
  meter?: Meter;
  /** default: no log, the machine's clock */
  env?: Partial<Env>;
}

/** What tells the two stages apart. */
export interface SignalRole {
  /** owns the group; also in job_runs, and as label of metrics */
  role: 'inference' | 'signals';
  /** in the log: SignalConsumer */
  name: string;
  rules: RowRules;
  limits: StepLimits;
  evaluator: Evaluator;
  /** names of signals that are known beforehand */
  names: readonly string[];
}

const PRIME_MS = 86_400_000;

/**
 * A stage that turns events into signals. Members of its group share the partitions by leases (src/bus/ownership.ts), one
 * PartitionSignals each; surplus members stand by.
 */
export class SignalStage implements Stage {
  readonly #options: SignalStageOptions;
  readonly #role: SignalRole;
  readonly #providers: Providers;
  readonly #topic: string;
  readonly #meter: Meter;
  readonly #env: Env;
  readonly #calls: ServerCalls;
  readonly #run: JobRun;
  readonly #report: SignalReport;
  readonly #lifecycle: StageLifecycle;
  readonly #partitions: OwnedPartitions<PartitionSignals>;

  constructor(options: SignalStageOptions, role: SignalRole) {
    this.#options = options;
    this.#role = role;
    this.#providers = providersOf(options.providers);
    this.#topic = options.topic ?? 'mdp.events';
    this.#meter = options.meter ?? NO_METER;
    this.#env = envOf(options.env);
    const common = { env: this.#env, meter: this.#meter };
    this.#calls = new ServerCalls({
      ...common,
      name: role.name,
      component: role.role,
      backpressure: options.backpressure,
    });
    const labels = { topic: this.#topic, group: options.consumerGroup, consumer: options.consumerName };
    this.#run = new JobRun({
      ...common,
      jobRuns: options.storeClient.jobRuns,
      stage: role.role,
      start: { jobName: role.role, metadata: { ...labels, adapter: role.evaluator.adapter } },
      onBeat: async () => {
        this.#gauges();
        this.#meter.set('stream_consumer_lag_ms', labels, await this.#partitions.lagMs());
      },
    });
    const { name, names, evaluator, rules } = role;
    this.#report = new SignalReport({
      ...common,
      run: this.#run,
      component: role.role,
      name,
      names,
      adapter: evaluator.adapter,
      window: rules.times === 'ticks' ? 'tick' : intervalName(rules.times),
    });
    const { bus, storeClient } = options;
    this.#partitions = new OwnedPartitions({
      bus,
      storeClient,
      topic: this.#topic,
      group: options.consumerGroup,
      role: role.role,
      member: options.consumerName,
      name,
      providers: this.#providers,
      calls: this.#calls,
      makeWorker: (owned) => this.#makeSignals(owned),
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
    const { consumerGroup: group, consumerName: consumer } = this.#options;
    this.#run.start();
    await this.#partitions.join(stopping);
    this.#env.log('info', `${this.#role.name} started`, {
      topic: this.#topic,
      group,
      consumer,
      adapter: this.#role.evaluator.adapter,
      features: this.#role.rules.set.names.length,
    });
    await this.#partitions.work();
  }

  #makeSignals(owned: OwnedPartition): PartitionSignals {
    const { bus, storeClient, consumerGroup, consumerName, signalsTopic, primeMs } = this.#options;
    const { rules, limits, evaluator } = this.#role;
    return new PartitionSignals(owned, {
      bus,
      signals: storeClient.signals,
      topic: this.#topic,
      signalsTopic: signalsTopic ?? 'mdp.signals',
      group: consumerGroup,
      member: consumerName,
      rules,
      limits,
      primeMs: primeMs ?? PRIME_MS,
      providers: this.#providers,
      evaluator,
      env: this.#env,
      calls: this.#calls,
      report: this.#report,
    });
  }

  async #close(failure: Error | null): Promise<void> {
    const { consumerGroup: group, consumerName: consumer } = this.#options;
    await this.#partitions.close();
    await this.#role.evaluator.close?.();
    await this.#run.finish(failure?.message ?? null);
    this.#env.log('info', `${this.#role.name} stopped`, { group, consumer });
  }

  #gauges(): void {
    const { consumerGroup: group } = this.#options;
    const component = this.#role.role;
    const partitions = this.#partitions;
    this.#meter.set(
      'features_symbols',
      { component },
      partitions.sum(({ symbols }) => symbols),
    );
    const cut = partitions.sum((signals) => signals.takeCut());
    this.#meter.count('features_cut_total', { component }, cut);
    const forwarded = partitions.sum((signals) => signals.takeForwarded());
    this.#meter.count('bus_forwarded_total', { topic: this.#topic, group }, forwarded);
  }
}
