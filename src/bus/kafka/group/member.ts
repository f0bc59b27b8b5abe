import {
  BusError,
  type Delivery,
  type GroupCheckpoints,
  type GroupMember,
  type GroupOptions,
} from '../../bus.ts';
import type { KafkaCluster } from '../cluster.ts';
import { KafkaCommits } from './commits.ts';
import { busError } from '../errors.ts';
import { KafkaFetcher } from '../fetcher.ts';
import { PartitionBuffer } from '../partition-buffer.ts';
import { startingOffsets } from './offsets.ts';
import { OffsetTracker, NOT_YET } from './offset-tracker.ts';
import { atMost } from '../../../core/wait.ts';
import type { Membership, MembershipEvents } from './membership.ts';

/** what is still to be said when it leaves may take so long, ms */
const LEAVE_MS = 3000;
const COMMIT_LIMIT_MS = 15_000;
const AGAIN_MS = 500;
const ANSWER_MS = 200;

interface Held {
  buffer: PartitionBuffer;
  tracker: OffsetTracker;
  /** what the first records since the partition came here carry as their count of attempts; null: it is not asked yet */
  first: { attempts: number } | null | 'past';
  /** the group wants it back: nothing more is handed out of it */
  leaving: PromiseWithResolvers<void> | null;
}

/** A member of a group: the partitions it was given, what it has in flight of them and what may be committed. */
export class KafkaMember implements GroupMember, MembershipEvents {
  readonly #cluster: KafkaCluster;
  readonly #options: GroupOptions;
  readonly #checkpoints: GroupCheckpoints;
  readonly #partitions: readonly number[];
  readonly #membership: Membership;
  readonly #fetcher: KafkaFetcher;
  readonly #commits: KafkaCommits;
  readonly #lag: () => Promise<number>;
  readonly #gone: () => void;
  readonly #held = new Map<number, Held>();
  /** lost by a silence of ours or of the broker; ours again when nobody else got further */
  readonly #suspended = new Map<number, Held>();
  /** what the group gives at this moment, each with the occasion on which it was gained */
  readonly #given = new Map<number, symbol>();
  #trouble: BusError | null = null;
  #left = false;

  constructor(
    cluster: KafkaCluster,
    options: GroupOptions,
    given: {
      checkpoints: GroupCheckpoints;
      partitions: readonly number[];
      membership: (events: MembershipEvents) => Membership;
      lagMs: () => Promise<number>;
      left: () => void;
    },
  ) {
    this.#cluster = cluster;
    this.#options = options;
    this.#checkpoints = given.checkpoints;
    this.#partitions = given.partitions;
    this.#lag = given.lagMs;
    this.#gone = given.left;
    this.#fetcher = new KafkaFetcher(cluster, options.topic);
    this.#membership = given.membership(this);
    this.#commits = new KafkaCommits(cluster, options, {
      membership: this.#membership,
      checkpoints: given.checkpoints,
      trackers: () => [...this.#held.values()].map(({ tracker }) => tracker),
    });
  }

  get topic(): string {
    return this.#options.topic;
  }

  get group(): string {
    return this.#options.group;
  }

  /** Handed out by this member and not acknowledged. */
  pending(partition: number): number {
    return (this.#held.get(partition) ?? this.#suspended.get(partition))?.tracker.pending ?? 0;
  }

  async start(): Promise<void> {
    await startingOffsets(this.#cluster, this.#checkpoints, this.topic, this.group, this.#partitions);
    await this.#membership.start();
  }

  async next(limit: number, waitMs: number): Promise<Delivery[]> {
    if (this.#left) throw new BusError('setup', `this member has left group ${this.group}`);
    const trouble = this.#membership.failure ?? this.#trouble;
    if (trouble !== null) throw trouble;
    const found = await this.#fetcher.next(limit, waitMs, (buffer) => this.#mayTake(buffer));
    const handed: Delivery[] = [];
    for (const { buffer, deliveries } of found) {
      try {
        if (await this.#handOut(buffer, deliveries)) handed.push(...deliveries);
        // it may come back, with the buffer where it was
        else buffer.giveBack(deliveries);
      } catch (error) {
        buffer.giveBack(deliveries);
        if (handed.length === 0) throw busError(error, `counting attempts at ${this.topic}`);
      }
    }
    return handed;
  }

  /** False: the partition was given to others meanwhile. */
  async #handOut(buffer: PartitionBuffer, deliveries: readonly Delivery[]): Promise<boolean> {
    const held = this.#held.get(buffer.partition);
    if (held === undefined || held.buffer !== buffer) return false;
    if (buffer.rewound) this.#rewind(held, Number(deliveries[0]?.position ?? buffer.offset));
    const attempts = await this.#attempts(held);
    if (!held.tracker.valid || this.#held.get(buffer.partition) !== held) return false;
    for (const delivery of deliveries) {
      delivery.attempts = attempts;
      held.tracker.take(Number(delivery.position));
    }
    return true;
  }

  async acknowledge(deliveries: readonly Delivery[]): Promise<void> {
    const touched = new Set<OffsetTracker>();
    let late = 0;
    for (const { partition, position } of deliveries) {
      const tracker = (this.#held.get(partition) ?? this.#suspended.get(partition))?.tracker;
      if (tracker === undefined) late += 1;
      else {
        tracker.acknowledge(Number(position));
        touched.add(tracker);
      }
    }
    if (late > 0) {
      const { group, member } = this.#options;
      this.#cluster.env.log('info', 'kafka: acknowledged too late, others have them', {
        group,
        member,
        records: late,
      });
    }
    const wanted = [...touched].map((tracker) => ({ tracker, offset: tracker.committable }));
    // what the group has taken away is remembered: it is committed if it comes back, and else comes again elsewhere
    const open = (): boolean =>
      wanted.some(
        ({ tracker, offset }) =>
          tracker.committed < offset && this.#held.get(tracker.partition)?.tracker === tracker,
      );
    const endMs = this.#cluster.env.clock.monotonicMs() + COMMIT_LIMIT_MS;
    while (open()) {
      await this.#commits.commit();
      if (!open()) break;
      if (this.#cluster.env.clock.monotonicMs() >= endMs || this.#left) {
        throw new BusError(
          'unreachable',
          `group ${this.group} does not take the acknowledgement at the moment`,
        );
      }
      await this.#membership.answered(ANSWER_MS);
    }
    for (const [partition, held] of this.#held) this.#letGo(partition, held);
  }

  lagMs(): Promise<number> {
    return this.#lag();
  }

  async leave(): Promise<void> {
    if (this.#left) return;
    this.#left = true;
    for (const held of this.#held.values()) held.leaving?.resolve();
    await atMost(this.#commits.commit(), LEAVE_MS);
    await atMost(this.#commits.writeCheckpoints(), LEAVE_MS);
    await this.#membership.leave();
    await this.#fetcher.close();
    for (const { tracker } of this.#held.values()) tracker.valid = false;
    this.#held.clear();
    this.#suspended.clear();
    this.#gone();
  }

  assigned(partitions: readonly number[]): void {
    const occasion = Symbol('gained');
    const gained = partitions.filter((partition) => !this.#given.has(partition));
    for (const partition of gained) this.#given.set(partition, occasion);
    for (const [partition, { tracker }] of this.#suspended) {
      if (this.#given.has(partition)) continue;
      tracker.valid = false;
      this.#suspended.delete(partition);
    }
    if (gained.length > 0) void this.#gain(gained, occasion);
  }

  async release(partitions: readonly number[]): Promise<void> {
    await Promise.all(
      partitions.map(async (partition) => {
        const held = this.#held.get(partition);
        this.#given.delete(partition);
        if (held === undefined) return;
        held.leaving ??= Promise.withResolvers();
        this.#letGo(partition, held);
        await held.leaving.promise;
      }),
    );
  }

  lost(): void {
    for (const [partition, held] of this.#held) {
      this.#fetcher.remove(held.buffer);
      held.leaving?.resolve();
      held.leaving = null;
      this.#suspended.set(partition, held);
    }
    this.#held.clear();
    this.#given.clear();
  }

  #mayTake(buffer: PartitionBuffer): boolean {
    const held = this.#held.get(buffer.partition);
    return held !== undefined && held.buffer === buffer && held.leaving === null;
  }

  /** Gives a partition up once nothing of it is in flight and what was acknowledged is committed. */
  #letGo(partition: number, held: Held): void {
    if (
      held.leaving === null ||
      held.tracker.pending > 0 ||
      held.tracker.committed < held.tracker.committable
    )
      return;
    this.#fetcher.remove(held.buffer);
    this.#held.delete(partition);
    held.tracker.valid = false;
    held.leaving.resolve();
  }

  async #gain(partitions: readonly number[], occasion: symbol): Promise<void> {
    const { topic, group, member } = this.#options;
    let begun: Awaited<ReturnType<typeof startingOffsets>>;
    try {
      begun = await startingOffsets(this.#cluster, this.#checkpoints, topic, group, partitions);
      this.#trouble = null;
    } catch (error) {
      this.#trouble = busError(error, `taking over partitions of ${topic}`);
      const { message } = this.#trouble;
      this.#cluster.env.log('warn', 'kafka: where to go on is not known yet', {
        topic,
        group,
        member,
        message,
      });
      if (!this.#left) setTimeout(() => void this.#gain(partitions, occasion), AGAIN_MS).unref();
      return;
    }
    // what was taken away again meanwhile is another's
    const mine = partitions.filter((partition) => this.#given.get(partition) === occasion && !this.#left);
    for (const partition of mine) {
      const start = begun.offsets.get(partition) ?? 0;
      const committed = begun.open.has(partition) ? NOT_YET : start;
      const before = this.#suspended.get(partition);
      this.#suspended.delete(partition);
      // nobody got further meanwhile: what is in flight stays in flight
      if (before?.tracker.resume(committed) === true) this.#resume(partition, before);
      else {
        if (before !== undefined) before.tracker.valid = false;
        this.#resume(partition, {
          buffer: new PartitionBuffer(partition, start), tracker: new OffsetTracker(partition, start, committed), first: null, leaving: null,
        }); // prettier-ignore
      }
    }
    if (begun.open.size > 0) await this.#commits.commit().catch(() => {});
    this.#cluster.env.log('info', 'kafka: partitions gained', { topic, group, member, partitions: mine });
  }

  #resume(partition: number, held: Held): void {
    this.#held.set(partition, held);
    this.#fetcher.add(held.buffer);
  }

  /** The offsets that come now were there before, with other records: what the group has committed is of no use. */
  #rewind(held: Held, first: number): void {
    const { buffer, tracker } = held;
    buffer.rewound = false;
    tracker.valid = false;
    held.tracker = new OffsetTracker(buffer.partition, first, NOT_YET);
    held.first = null;
    void this.#commits.commit().catch(() => {});
  }

  /** Asked only when something is handed out: starting idly again and again is no attempt at any record. */
  async #attempts(held: Held): Promise<number> {
    if (held.first === 'past') return 1;
    if (held.first === null) {
      const { topic, group } = this.#options;
      const { partition, start } = held.tracker;
      held.first = { attempts: await this.#checkpoints.starting(topic, group, partition, String(start)) };
    }
    const { attempts } = held.first;
    held.first = 'past';
    return attempts;
  }
}
