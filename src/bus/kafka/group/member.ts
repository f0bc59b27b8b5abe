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
import type { PartitionBuffer } from '../partition-buffer.ts';
import { startingOffsets } from './offsets.ts';
import { MemberPartitions, type PartitionProgress, type StartingPartition } from './member-partitions.ts';
import { OffsetTracker, NOT_YET } from './offset-tracker.ts';
import { atMost } from '../../../core/wait.ts';
import type { Membership, MembershipEvents } from './membership.ts';

/** the last commit and the last checkpoints of a member that leaves take this long each at most, ms */
const LEAVE_MS = 3000;
/** an acknowledgement that the group has not taken by then fails, ms */
const COMMIT_LIMIT_MS = 15_000;
/** between two attempts to learn where to begin, ms */
const RETRY_MS = 500;
/** a commit that the group did not take is sent again with its next answer, or after this, ms */
const ANSWER_MS = 200;

/**
 * A member of a group: hands out the records of the partitions that the group gives it, and commits what was acknowledged.
 * What a partition goes through is MemberPartitions' business.
 */
export class KafkaMember implements GroupMember, MembershipEvents {
  readonly #cluster: KafkaCluster;
  readonly #options: GroupOptions;
  readonly #checkpoints: GroupCheckpoints;
  readonly #topicPartitions: readonly number[];
  readonly #membership: Membership;
  readonly #fetcher: KafkaFetcher;
  readonly #commits: KafkaCommits;
  readonly #lag: () => Promise<number>;
  readonly #onLeft: () => void;
  readonly #partitions: MemberPartitions;
  /** why it is not known where to begin in what the group gives */
  #startFailure: BusError | null = null;
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
    this.#topicPartitions = given.partitions;
    this.#lag = given.lagMs;
    this.#onLeft = given.left;
    this.#fetcher = new KafkaFetcher(cluster, options.topic);
    this.#partitions = new MemberPartitions(this.#fetcher);
    this.#membership = given.membership(this);
    this.#commits = new KafkaCommits(cluster, options, {
      membership: this.#membership,
      checkpoints: given.checkpoints,
      trackers: () => this.#partitions.allOwned().map(({ tracker }) => tracker),
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
    return this.#partitions.progressOf(partition)?.tracker.pending ?? 0;
  }

  async start(): Promise<void> {
    await startingOffsets(this.#cluster, this.#checkpoints, this.topic, this.group, this.#topicPartitions);
    await this.#membership.start();
  }

  async next(limit: number, waitMs: number): Promise<Delivery[]> {
    if (this.#left) throw new BusError('setup', `this member has left group ${this.group}`);
    const failure = this.#membership.failure ?? this.#startFailure;
    if (failure !== null) throw failure;
    const found = await this.#fetcher.next(limit, waitMs, (buffer) => this.#partitions.mayTake(buffer));
    const handed: Delivery[] = [];
    for (const { buffer, deliveries } of found) {
      try {
        if (await this.#handOut(buffer, deliveries)) handed.push(...deliveries);
        // the partition may come back with this buffer
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
    const progress = this.#partitions.owned(buffer.partition);
    if (progress === null || progress.buffer !== buffer) return false;
    if (buffer.rewound) this.#rewind(progress, Number(deliveries[0]?.position ?? buffer.offset));
    const attempts = await this.#attempts(progress);
    if (!progress.tracker.valid || this.#partitions.owned(buffer.partition) !== progress) return false;
    for (const delivery of deliveries) {
      delivery.attempts = attempts;
      progress.tracker.take(Number(delivery.position));
    }
    return true;
  }

  async acknowledge(deliveries: readonly Delivery[]): Promise<void> {
    const touched = new Set<OffsetTracker>();
    let late = 0;
    for (const { partition, position } of deliveries) {
      const tracker = this.#partitions.progressOf(partition)?.tracker;
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
    // what the group has taken away is not waited for: it is committed if it comes back, else others get the records again
    const isUncommitted = (): boolean =>
      wanted.some(
        ({ tracker, offset }) =>
          tracker.committed < offset && this.#partitions.owned(tracker.partition)?.tracker === tracker,
      );
    const endMs = this.#cluster.env.clock.monotonicMs() + COMMIT_LIMIT_MS;
    while (isUncommitted()) {
      await this.#commits.commit();
      if (!isUncommitted()) break;
      if (this.#cluster.env.clock.monotonicMs() >= endMs || this.#left) {
        throw new BusError(
          'unreachable',
          `group ${this.group} does not take the acknowledgement at the moment`,
        );
      }
      await this.#membership.answered(ANSWER_MS);
    }
    this.#partitions.letGo();
  }

  lagMs(): Promise<number> {
    return this.#lag();
  }

  async leave(): Promise<void> {
    if (this.#left) return;
    this.#left = true;
    this.#partitions.endReleases();
    await atMost(this.#commits.commit(), LEAVE_MS);
    await atMost(this.#commits.writeCheckpoints(), LEAVE_MS);
    await this.#membership.leave();
    await this.#fetcher.close();
    this.#partitions.close();
    this.#onLeft();
  }

  assigned(partitions: readonly number[]): void {
    const gained = this.#partitions.assigned(partitions);
    if (gained.length > 0) void this.#open(gained);
  }

  release(partitions: readonly number[]): Promise<void> {
    return this.#partitions.release(partitions);
  }

  lost(): void {
    this.#partitions.lost();
  }

  async #open(starting: readonly StartingPartition[]): Promise<void> {
    const { topic, group, member } = this.#options;
    const partitions = starting.map(({ partition }) => partition);
    let begun: Awaited<ReturnType<typeof startingOffsets>>;
    try {
      begun = await startingOffsets(this.#cluster, this.#checkpoints, topic, group, partitions);
      this.#startFailure = null;
    } catch (error) {
      this.#startFailure = busError(error, `taking over partitions of ${topic}`);
      const { message } = this.#startFailure;
      this.#cluster.env.log('warn', 'kafka: where to go on is not known yet', {
        topic,
        group,
        member,
        message,
      });
      if (!this.#left) setTimeout(() => void this.#open(starting), RETRY_MS).unref();
      return;
    }
    const opened = this.#left ? [] : this.#partitions.open(starting, begun);
    if (begun.open.size > 0) await this.#commits.commit().catch(() => {});
    this.#cluster.env.log('info', 'kafka: partitions gained', { topic, group, member, partitions: opened });
  }

  /** The log was made anew and its offsets repeat with other records: what the group has committed means nothing now. */
  #rewind(progress: PartitionProgress, first: number): void {
    const { buffer, tracker } = progress;
    buffer.rewound = false;
    tracker.valid = false;
    progress.tracker = new OffsetTracker(buffer.partition, first, NOT_YET);
    progress.isAttemptCounted = false;
    void this.#commits.commit().catch(() => {});
  }

  /** Counted only when something is handed out: a start without any work is no attempt at a record. */
  async #attempts(progress: PartitionProgress): Promise<number> {
    if (progress.isAttemptCounted) return 1;
    const { topic, group } = this.#options;
    const { partition, start } = progress.tracker;
    const attempts = await this.#checkpoints.starting(topic, group, partition, String(start));
    progress.isAttemptCounted = true;
    return attempts;
  }
}
