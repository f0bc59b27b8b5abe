import type { Env } from '../core/env.ts';
import type { Client } from 'pg';
import { fairShares } from '../core/bus/partitions.ts';
import {
  agreePartitions,
  claimGroup,
  GroupInUseError,
  leaveMembers,
  memberExpiry,
  makePartitions,
  PartitionsDifferError,
  releasePartition,
  renewLeases,
  takePartition,
  type GroupState,
  type LeaseState,
  type TakenPartition,
} from '../store/bus/partitions.ts';
import { Session } from '../store/postgres/session.ts';
import { BusError } from './bus.ts';
import { pause } from '../core/wait.ts';
import { busError } from './postgres/errors.ts';

/** a living member renews within this time, ms; how often that is checked while a name may be in use, ms */
const NAME_WAIT_MS = 1500;
const NAME_LOOK_MS = 250;
/** leases last 5 s and are renewed this often, ms */
const RENEW_MS = 1000;
/** a call to the database that takes longer failed, ms; taking a partition may wait 1 s for its old owner, twice */
const ANSWER_MS = 5000;
const DRAIN_MS = 10_000;

/** A partition of this member; `position`: everything up to it is done, as its role committed it (null: nothing is). */
export type OwnedPartition = Readonly<TakenPartition>;

export interface OwnershipOptions {
  topic: string;
  group: string;
  /** the group belongs to this role: another one is refused */
  role: string;
  /** unique among living members */
  member: string;
  partitions: number;
  /** a connection of its own to the store */
  connect: () => Promise<Client>;
  /** Begins after `position`. What it commits it commits with commitPosition() (src/store/bus/partitions.ts). */
  onAssign: (owned: OwnedPartition) => void;
  /** Finishes what is under way; once it resolves, and after drainMs at the latest, the partition is given away. */
  onRevoke: (owned: OwnedPartition) => Promise<void>;
  /** Another member owns it: nothing more of it can be committed. */
  onLost: (owned: OwnedPartition) => void;
  /** Another living member has the same name: this one takes no more partitions. */
  onNameTaken?: (error: BusError) => void;
  drainMs?: number;
  env: Env;
}

/**
 * Which partitions of a topic this member owns, decided among the members of a group through rows in Postgres:
 *
 *   every second: renew the member and its leases ──► a lease has another epoch: onLost
 *        │
 *        ├─ more than its fair share ──► onRevoke, awaited ──► released
 *        └─ fewer, and some are free (released, or not renewed for 5 s) ──► fence, epoch + 1 ──► onAssign
 *
 * The lease of a partition that is being drained is renewed like the others. While the database cannot be reached everything
 * stays as it is: a member that was replaced meanwhile is refused by the fence when it commits.
 */
export class Ownership {
  readonly #options: OwnershipOptions;
  readonly #session: Session;
  readonly #owned = new Map<number, OwnedPartition>();
  readonly #draining = new Map<number, Promise<void>>();
  readonly #stopping = new AbortController();
  #failures = 0;
  #isNameTaken = false;
  #running: Promise<void> = Promise.resolve();

  private constructor(options: OwnershipOptions) {
    this.#options = options;
    this.#session = new Session(options.connect, ANSWER_MS);
  }

  /**
   * Rejects with BusError: `setup` when another role has the group, the topic another number of partitions, or the group
   * a living member of this name. A dead one's name is free once it is seen not to renew.
   */
  static async start(options: OwnershipOptions): Promise<Ownership> {
    const ownership = new Ownership(options);
    try {
      await ownership.#session.run(async (client) => {
        await agreePartitions(client, options.topic, options.partitions);
        await claimGroup(client, options, options.role);
        await makePartitions(client, options, options.partitions);
      });
      await ownership.#awaitName();
    } catch (error) {
      await ownership.#session.close();
      if (error instanceof BusError) throw error;
      const isSetup = error instanceof GroupInUseError || error instanceof PartitionsDifferError;
      throw isSetup ? new BusError('setup', error.message, error) : busError(error);
    }
    ownership.#running = ownership.#run();
    return ownership;
  }

  get #isStopping(): boolean {
    return this.#stopping.signal.aborted;
  }

  /** What this member owns now, partitions that are being drained included; ascending. */
  get owned(): OwnedPartition[] {
    return [...this.#owned.values()].sort((a, b) => a.partition - b.partition);
  }

  /** Drains and gives back everything; the other members have it within a second. Idempotent. */
  async close(): Promise<void> {
    this.#stopping.abort();
    // leases are renewed until the last one is drained
    await this.#running;
    await this.#session
      .run((client) => leaveMembers(client, this.#options, this.#options.member))
      .catch(() => {});
    await this.#session.close();
  }

  async #run(): Promise<void> {
    const { clock } = this.#options.env;
    while (!this.#isStopping || this.#owned.size > 0) {
      const dueMs = clock.monotonicMs() + RENEW_MS;
      try {
        await this.#beat(dueMs);
        this.#failures = 0;
      } catch (error) {
        this.#failed(error);
        // the leases run out by themselves
        if (this.#isStopping && this.#draining.size === 0) return;
      }
      await this.#pause(dueMs - clock.monotonicMs());
    }
  }

  async #beat(dueMs: number): Promise<void> {
    const state = await this.#session.run((client) =>
      renewLeases(client, this.#options, this.#options.member, [...this.#owned.values()]),
    );
    this.#noticeLost(state);
    const share = this.#isStopping || this.#isNameTaken ? 0 : this.#share(state);
    this.#giveBack(share);
    await this.#take(state, share, dueMs);
  }

  /** Waits until the member that had this name is seen not to renew. Rejects with BusError when it lives. */
  async #awaitName(): Promise<void> {
    const { member, env } = this.#options;
    const { clock } = env;
    const expiry = (): Promise<string | null> =>
      this.#session.run((client) => memberExpiry(client, this.#options, member));
    const endMs = clock.monotonicMs() + NAME_WAIT_MS;
    const first = await expiry();
    let now = first;
    while (now !== null && now === first && clock.monotonicMs() < endMs) {
      await pause(NAME_LOOK_MS, this.#stopping.signal);
      now = await expiry();
    }
    if (now !== null && now !== first) throw this.#nameTaken();
  }

  #nameTaken(): BusError {
    const { topic, group, member } = this.#options;
    return new BusError(
      'setup',
      `group ${group} of ${topic} has a living member ${member}: give each its own name (--consumer, or SERVICE_NAME of a daemon)`,
    );
  }

  /** A lease under another epoch, or of another member, is not ours any more. */
  #noticeLost({ leases }: GroupState): void {
    for (const owned of this.owned) {
      const lease = leases.find(({ partition }) => partition === owned.partition);
      if (lease?.epoch === owned.epoch) continue;
      this.#owned.delete(owned.partition);
      this.#options.onLost(owned);
      if (lease?.holder !== this.#options.member || this.#isNameTaken) continue;
      // two members of one name would take partitions from each other for ever
      this.#isNameTaken = true;
      this.#options.onNameTaken?.(this.#nameTaken());
    }
  }

  #share({ members, leases }: GroupState): number {
    const { member, partitions } = this.#options;
    const holders = members.map((name) => ({
      name,
      held: leases.filter(({ holder, partition }) => holder === name && partition < partitions).length,
    }));
    return fairShares(partitions, holders).get(member) ?? 0;
  }

  /** Begins to drain what is above the share, the highest partitions first. */
  #giveBack(share: number): void {
    const surplus = this.owned.toReversed().filter(({ partition }) => !this.#draining.has(partition));
    const count = this.#owned.size - this.#draining.size - share;
    for (const owned of surplus.slice(0, Math.max(0, count))) {
      this.#draining.set(
        owned.partition,
        this.#drain(owned).finally(() => this.#draining.delete(owned.partition)),
      );
    }
  }

  async #drain(owned: OwnedPartition): Promise<void> {
    const { onRevoke, drainMs = DRAIN_MS, member, topic, group, env } = this.#options;
    const { partition } = owned;
    const deadline = Promise.withResolvers<'late'>();
    const timer = setTimeout(() => deadline.resolve('late'), drainMs);
    try {
      const end = await Promise.race([onRevoke(owned), deadline.promise]);
      if (end === 'late')
        env.log('warn', 'A partition was not drained in time', { topic, group, partition, drainMs });
    } catch (error) {
      env.log('error', 'A partition could not be drained', {
        topic,
        group,
        partition,
        reason: String(error),
      });
    } finally {
      clearTimeout(timer);
    }
    if (this.#owned.get(partition) !== owned) return;
    this.#owned.delete(partition);
    try {
      await this.#session.run((client) => releasePartition(client, this.#options, member, owned));
    } catch (error) {
      this.#failed(error); // its lease is not renewed any more and runs out
    }
  }

  /** Takes free partitions up to the share, as long as the next renewal is not due. */
  async #take({ leases }: GroupState, share: number, dueMs: number): Promise<void> {
    const { partitions, member, onAssign, env } = this.#options;
    // one of ours that we do not know of: from before a restart, or taken by a call whose answer was lost
    const free = leases.filter(
      ({ holder, partition }) =>
        (holder === null || holder === member) && partition < partitions && !this.#owned.has(partition),
    );
    for (const lease of free) {
      if (this.#owned.size - this.#draining.size >= share || env.clock.monotonicMs() > dueMs) return;
      const taken = await this.#session.run((client) => takePartition(client, this.#options, member, lease));
      if (taken === null) continue;
      this.#owned.set(taken.partition, taken);
      this.#logTaken(lease, taken);
      onAssign(taken);
    }
  }

  #logTaken(before: LeaseState, { partition, epoch, position }: OwnedPartition): void {
    const { topic, group, env } = this.#options;
    env.log('info', 'A partition was taken', {
      topic,
      group,
      partition,
      epoch: epoch.toString(),
      position,
      before: before.epoch.toString(),
    });
  }

  #failed(error: unknown): void {
    this.#failures += 1;
    if (this.#failures > 1) return;
    const { topic, group, env } = this.#options;
    env.log('warn', 'The leases cannot be renewed', { topic, group, reason: busError(error).message });
  }

  async #pause(ms: number): Promise<void> {
    if (ms <= 0) return;
    if (!this.#isStopping) return pause(ms, this.#stopping.signal);
    // while stopping, only the end of all draining cuts the pause short
    const drained = new AbortController();
    void Promise.allSettled(this.#draining.values()).then(() => drained.abort());
    await pause(ms, drained.signal);
  }
}
