import { unlessAborted } from '../../core/wait.ts';
import type { Providers } from '../../core/market/identity/providers.ts';
import { BusError, type StreamBus } from '../../bus/bus.ts';
import { Ownership, type OwnedPartition } from '../../bus/ownership.ts';
import { isFenced } from '../../store/postgres/sqlstate.ts';
import type { StoreClient } from '../../store/store-client.ts';
import { InboxMover } from '../inbox.ts';
import type { ServerCalls } from '../server-calls.ts';

/** The work on one partition, as long as this member owns it. */
export interface PartitionWorker {
  /** Resolves after stop() or abandon(). Rejects when the partition was taken over (MDF01), or with a permanent error. */
  run(): Promise<void>;
  stop(): void;
  /** Another member owns it: nothing more can be committed. */
  abandon(): void;
  /** Records forwarded to their symbol's partition since the last call. */
  takeForwarded(): number;
}

export interface OwnedPartitionsOptions<Worker> {
  bus: StreamBus;
  storeClient: StoreClient;
  topic: string;
  group: string;
  /** the group belongs to it: any other is refused */
  role: string;
  /** unique among living members */
  member: string;
  /** in the log: MicroBatcher */
  name: string;
  providers: Providers;
  calls: ServerCalls;
  makeWorker: (owned: OwnedPartition) => Worker;
}

/**
 * The partitions that a member of a stateful role owns by leases (src/bus/ownership.ts), a worker for each, and the topic's inbox.
 * Surplus members stand by.
 */
export class OwnedPartitions<Worker extends PartitionWorker> {
  readonly #options: OwnedPartitionsOptions<Worker>;
  readonly #workers = new Map<OwnedPartition, { worker: Worker; ended: Promise<void> }>();
  readonly #broken = Promise.withResolvers<never>();
  #ownership: Ownership | null = null;
  #inbox: InboxMover | null = null;
  #stopping: AbortSignal = new AbortController().signal;

  constructor(options: OwnedPartitionsOptions<Worker>) {
    this.#options = options;
    this.#broken.promise.catch(() => {}); // whoever awaits it says so
  }

  get workers(): Worker[] {
    return [...this.#workers.values()].map(({ worker }) => worker);
  }

  /** Joins the group. Rejects with BusError `setup` when another role has it, or a living member of this name. */
  async join(stopping: AbortSignal): Promise<void> {
    this.#stopping = stopping;
    this.#ownership = await this.#options.calls.database(
      () => this.#startOwnership(),
      stopping,
      (error) => !(error instanceof BusError && error.kind === 'setup'),
    );
  }

  /** Moves the inbox as well, until the signal aborts. Rejects with what ended a worker, or took the member's name. */
  async work(): Promise<void> {
    this.#inbox = await this.#startInbox();
    await unlessAborted(this.#broken.promise, this.#stopping);
  }

  /** Drains and gives back everything. */
  async close(): Promise<void> {
    await this.#inbox?.close();
    await this.#ownership?.close();
    for (const { worker } of this.#workers.values()) worker.abandon();
    await Promise.all([...this.#workers.values()].map(({ ended }) => ended));
  }

  /** Of the partitions that this member owns, the longest, ms; 0: there are none. */
  async lagMs(): Promise<number> {
    const { bus, topic, group: ours } = this.#options;
    const mine = new Set([...this.#workers.keys()].map(({ partition }) => partition));
    if (mine.size === 0) return 0;
    const groups = await bus.groups(topic);
    const lags = groups
      .filter(({ group, partition }) => group === ours && mine.has(partition))
      .map(({ lagMs }) => lagMs);
    return Math.max(0, ...lags);
  }

  sum(of: (worker: Worker) => number): number {
    return this.workers.reduce((total, worker) => total + of(worker), 0);
  }

  #startOwnership(): Promise<Ownership> {
    const { storeClient, bus, topic, group, role, member, calls } = this.#options;
    return Ownership.start({
      topic,
      group,
      role,
      member,
      partitions: bus.partitions(topic),
      connect: () => storeClient.connect('leases'),
      onAssign: (owned) => this.#assign(owned),
      onRevoke: (owned) => this.#revoke(owned),
      onLost: (owned) => this.#workers.get(owned)?.worker.abandon(),
      onNameTaken: (error) => this.#broken.reject(error),
      env: calls.env,
    });
  }

  #startInbox(): Promise<InboxMover | null> {
    const { storeClient, bus, topic, group, member, providers, calls } = this.#options;
    const options = {
      bus,
      store: storeClient,
      topic,
      member: `${group} ${member}`,
      providers,
      onBroken: (error: Error) => this.#broken.reject(error),
      calls,
    };
    return InboxMover.start(options, this.#stopping);
  }

  #assign(owned: OwnedPartition): void {
    const worker = this.#options.makeWorker(owned);
    const ended = worker
      .run()
      .catch((error: unknown) => this.#ended(owned, error))
      .finally(() => this.#workers.delete(owned));
    this.#workers.set(owned, { worker, ended });
  }

  async #revoke(owned: OwnedPartition): Promise<void> {
    const found = this.#workers.get(owned);
    found?.worker.stop();
    await found?.ended;
  }

  /** If taken over, the lease shows it too. Any other failure ends the stage; a restart resumes from what is committed. */
  #ended({ partition, epoch }: OwnedPartition, error: unknown): void {
    const { name, topic, calls } = this.#options;
    calls.env.log(isFenced(error) ? 'warn' : 'error', `${name}: a partition ended`, {
      topic,
      partition,
      epoch: epoch.toString(),
      err: error,
    });
    if (!isFenced(error) && !this.#stopping.aborted) this.#broken.reject(error);
  }
}
