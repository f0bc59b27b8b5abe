import { envOf, type Env } from '../../core/env.ts';
import { unlessAborted } from '../../core/wait.ts';
import type { Backpressure } from '../../core/bus/capacity.ts';
import {
  providersOf,
  type ProviderDeclarations,
  type Providers,
} from '../../core/market/identity/providers.ts';
import { intervalName } from '../../core/market/interval.ts';
import type { RowRules } from '../../core/signal/symbol-rows.ts';
import { BusError, type StreamBus } from '../../bus/bus.ts';
import { Ownership, type OwnedPartition } from '../../bus/ownership.ts';
import { isFenced } from '../../store/postgres/sqlstate.ts';
import type { StoreClient } from '../../store/store-client.ts';
import { InboxMover } from '../inbox.ts';
import { JobRun } from '../job-run.ts';
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
  readonly #partitions = new Map<OwnedPartition, { signals: PartitionSignals; ended: Promise<void> }>();
  readonly #broken = Promise.withResolvers<never>();
  #ownership: Ownership | null = null;
  #inbox: InboxMover | null = null;

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
        this.#meter.set('stream_consumer_lag_ms', labels, await this.#lagMs());
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
    this.#broken.promise.catch(() => {});
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
    this.#ownership = await this.#calls.database(
      () => this.#startOwnership(),
      stopping,
      (error) => !(error instanceof BusError && error.kind === 'setup'),
    );
    this.#env.log('info', `${this.#role.name} started`, {
      topic: this.#topic,
      group,
      consumer,
      adapter: this.#role.evaluator.adapter,
      features: this.#role.rules.set.names.length,
    });
    this.#inbox = await this.#startInbox();
    await unlessAborted(this.#broken.promise, stopping);
  }

  #startOwnership(): Promise<Ownership> {
    const { storeClient, bus, consumerGroup: group, consumerName: member } = this.#options;
    return Ownership.start({
      topic: this.#topic,
      group,
      role: this.#role.role,
      member,
      partitions: bus.partitions(this.#topic),
      connect: () => storeClient.connect('leases'),
      onAssign: (owned) => this.#assign(owned),
      onRevoke: (owned) => this.#revoke(owned),
      onLost: (owned) => this.#partitions.get(owned)?.signals.abandon(),
      onNameTaken: (error) => this.#broken.reject(error),
      env: this.#env,
    });
  }

  #startInbox(): Promise<InboxMover | null> {
    const { storeClient, bus, consumerGroup, consumerName } = this.#options;
    const options = {
      bus,
      store: storeClient,
      topic: this.#topic,
      member: `${consumerGroup} ${consumerName}`,
      providers: this.#providers,
      onBroken: (error: Error) => this.#broken.reject(error),
      calls: this.#calls,
    };
    return InboxMover.start(options, this.#lifecycle.stopping);
  }

  #assign(owned: OwnedPartition): void {
    const { bus, storeClient, consumerGroup, consumerName, signalsTopic, primeMs } = this.#options;
    const { rules, limits, evaluator } = this.#role;
    const signals = new PartitionSignals(owned, {
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
    const ended = signals
      .run()
      .catch((error: unknown) => this.#ended(owned, error))
      .finally(() => this.#partitions.delete(owned));
    this.#partitions.set(owned, { signals, ended });
  }

  async #revoke(owned: OwnedPartition): Promise<void> {
    const found = this.#partitions.get(owned);
    found?.signals.stop();
    await found?.ended;
  }

  /** If taken over, the lease shows it too. Any other failure ends the stage; a restart resumes from the last checkpoint. */
  #ended({ partition, epoch }: OwnedPartition, error: unknown): void {
    this.#env.log(isFenced(error) ? 'warn' : 'error', `${this.#role.name}: a partition ended`, {
      topic: this.#topic,
      partition,
      epoch: epoch.toString(),
      err: error,
    });
    if (!isFenced(error) && !this.#lifecycle.stopping.aborted) this.#broken.reject(error);
  }

  async #close(failure: Error | null): Promise<void> {
    const { consumerGroup: group, consumerName: consumer } = this.#options;
    await this.#inbox?.close();
    await this.#ownership?.close();
    for (const { signals } of this.#partitions.values()) signals.abandon();
    await Promise.all([...this.#partitions.values()].map(({ ended }) => ended));
    await this.#role.evaluator.close?.();
    await this.#run.finish(failure?.message ?? null);
    this.#env.log('info', `${this.#role.name} stopped`, { group, consumer });
  }

  /** Over the partitions this member owns. */
  async #lagMs(): Promise<number> {
    const mine = new Set([...this.#partitions.keys()].map(({ partition }) => partition));
    if (mine.size === 0) return 0;
    const groups = await this.#options.bus.groups(this.#topic);
    const lags = groups
      .filter(({ group, partition }) => group === this.#options.consumerGroup && mine.has(partition))
      .map(({ lagMs }) => lagMs);
    return Math.max(0, ...lags);
  }

  #gauges(): void {
    const { consumerGroup: group } = this.#options;
    const partitions = [...this.#partitions.values()].map(({ signals }) => signals);
    const symbols = partitions.reduce((sum, each) => sum + each.symbols, 0);
    this.#meter.set('features_symbols', { component: this.#role.role }, symbols);
    const cut = partitions.reduce((sum, each) => sum + each.takeCut(), 0);
    this.#meter.count('features_cut_total', { component: this.#role.role }, cut);
    const forwarded = partitions.reduce((sum, each) => sum + each.takeForwarded(), 0);
    this.#meter.count('bus_forwarded_total', { topic: this.#topic, group }, forwarded);
  }
}
