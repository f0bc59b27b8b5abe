import type { consumerGroupHeartbeatV1 } from '@platformatic/kafka';
import { backoffMs } from '../../../core/retry.ts';
import { BusError } from '../../bus.ts';
import type { KafkaCluster } from '../cluster.ts';
import { atMost } from '../../../core/wait.ts';
import { busError, hasCode, KafkaCode } from '../errors.ts';
import {
  Heart,
  joinedInTime,
  type Membership,
  type MembershipEvents,
  type MembershipOptions,
} from './membership.ts';
import type { BrokerConnections } from '../connections.ts';
import type { Committer } from './offsets.ts';

const JOINING_EPOCH = 0;
const LEAVING_EPOCH = -1;
/**
 * The group waits so long for a member to give up a partition that another one shall have. A member that lives keeps
 * what it has in flight, however slow it is.
 */
const REBALANCE_MS = 24 * 3_600_000;
const LEAVE_MS = 3000;
const BACKOFF = { firstMs: 50, maxMs: 1000 };

/**
 * KIP-848: the broker assigns partitions by its answers to heartbeats. The member's id is the name given to it, so that a
 * restarted member gets back at once what it had.
 */
export class ConsumerProtocol implements Membership {
  readonly connections: BrokerConnections;
  readonly #cluster: KafkaCluster;
  readonly #options: MembershipOptions;
  readonly #events: MembershipEvents;
  readonly #heart = new Heart();
  #epoch = JOINING_EPOCH;
  /** held, those being given up included: the group hears of it in every heartbeat */
  readonly #owned = new Set<number>();
  readonly #releasing = new Set<number>();
  #failure: BusError | null = null;
  #joined = Promise.withResolvers<void>();
  #running: Promise<void> = Promise.resolve();
  #left = false;

  constructor(cluster: KafkaCluster, options: MembershipOptions, events: MembershipEvents) {
    this.#cluster = cluster;
    this.#options = options;
    this.#events = events;
    this.connections = cluster.openConnections();
    this.#joined.promise.catch(() => {});
  }

  get committer(): Committer | null {
    return this.#epoch > 0 ? { memberId: this.#options.member, epoch: this.#epoch, instanceId: null } : null;
  }

  get failure(): BusError | null {
    return this.#failure;
  }

  async start(): Promise<void> {
    this.#running = this.#live();
    try {
      await joinedInTime(this.#joined.promise, this.#cluster, this.#options.group);
    } catch (error) {
      await this.leave();
      throw error;
    }
  }

  beat(): void {
    this.#heart.hurry();
  }

  settled(ms: number): Promise<void> {
    return this.#heart.beaten(ms);
  }

  async leave(): Promise<void> {
    this.#left = true;
    this.#heart.hurry();
    // without an answer it is given up when its session ends
    const ended = await atMost(this.#running, LEAVE_MS);
    if (ended && this.#epoch > 0) await atMost(this.#heartbeat(LEAVING_EPOCH), LEAVE_MS);
    this.#epoch = JOINING_EPOCH;
    await this.#cluster.discard(this.connections);
  }

  async #live(): Promise<void> {
    let failures = 0;
    while (!this.#left) {
      let restMs: number;
      try {
        const answer = await this.#heartbeat(this.#epoch);
        failures = 0;
        restMs = this.#heed(answer);
      } catch (error) {
        restMs = this.#misheard(error, failures++);
      }
      this.#heart.beat();
      if (!this.#left) await this.#heart.rest(restMs);
    }
    this.#joined.reject(
      this.#failure ??
        new BusError('unreachable', `group ${this.#options.group} was left before it was joined`),
    );
  }

  async #heartbeat(epoch: number): Promise<consumerGroupHeartbeatV1.ConsumerGroupHeartbeatResponse> {
    const { topic, group, member } = this.#options;
    const id = (await this.#cluster.metadata(topic)).topics.get(topic)?.id ?? '';
    const owned = epoch > 0 && this.#owned.size > 0 ? [{ topicId: id, partitions: [...this.#owned] }] : [];
    const coordinator = await this.#cluster.coordinatorOf(group);
    return this.#cluster.send(
      'ConsumerGroupHeartbeat', this.connections, coordinator,
      group, member, epoch, null, null, REBALANCE_MS, [topic], null, null, owned,
    ); // prettier-ignore
  }

  /** Takes what the group gives, lets go what it takes away; answers how long to rest, ms. */
  #heed(answer: consumerGroupHeartbeatV1.ConsumerGroupHeartbeatResponse): number {
    this.#epoch = answer.memberEpoch;
    this.#failure = null;
    if (answer.assignment !== null) {
      const target = new Set(answer.assignment.topicPartitions.flatMap(({ partitions }) => partitions));
      for (const partition of target) this.#owned.add(partition);
      this.#events.assigned([...target].filter((partition) => !this.#releasing.has(partition)));
      const revoked = [...this.#owned].filter((each) => !target.has(each) && !this.#releasing.has(each));
      if (revoked.length > 0) void this.#release(revoked);
    }
    this.#joined.resolve();
    return answer.heartbeatIntervalMs;
  }

  async #release(partitions: readonly number[]): Promise<void> {
    for (const partition of partitions) this.#releasing.add(partition);
    await this.#events.release(partitions);
    for (const partition of partitions) {
      if (this.#releasing.delete(partition)) this.#owned.delete(partition);
    }
    this.#heart.hurry();
  }

  #misheard(error: unknown, failures: number): number {
    const { group, member } = this.#options;
    if (hasCode(error, KafkaCode.fencedMemberEpoch, KafkaCode.unknownMemberId, KafkaCode.groupIdNotFound)) {
      if (this.#epoch !== JOINING_EPOCH) {
        this.#cluster.env.log('warn', 'kafka: no longer a member of the group, joining again', {
          group,
          member,
        });
        this.#epoch = JOINING_EPOCH;
        this.#owned.clear();
        this.#releasing.clear();
        this.#events.lost();
        return 0;
      }
    }
    const failure = busError(error, `group ${group}`);
    this.#cluster.noteFailure(error);
    if (failure.kind !== 'unreachable') {
      this.#failure = failure;
      if (this.#epoch === JOINING_EPOCH) this.#joined.reject(failure);
    }
    return backoffMs(failures, BACKOFF, this.#cluster.env.random());
  }
}
