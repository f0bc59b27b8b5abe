import type { consumerGroupHeartbeatV1 } from '@platformatic/kafka';
import { hasCode, KafkaCode } from '../errors.ts';
import type { GroupProtocol, GroupSession } from './membership.ts';
import type { Committer } from './offsets.ts';

const JOINING_EPOCH = 0;
const LEAVING_EPOCH = -1;
/**
 * How long the group waits for a member to give up a partition that another one is to get, ms. A living member keeps what it
 * has in flight, however slow it is.
 */
const REBALANCE_MS = 24 * 3_600_000;

/**
 * KIP-848: the broker assigns partitions by its answers to heartbeats. The member's id is the name given to it, so that a
 * restarted member gets back at once what it had.
 */
export class ConsumerProtocol implements GroupProtocol {
  readonly #session: GroupSession;
  #epoch = JOINING_EPOCH;
  /** partitions being given up included: every heartbeat names them to the group */
  readonly #owned = new Set<number>();
  readonly #releasing = new Set<number>();

  constructor(session: GroupSession) {
    this.#session = session;
  }

  get committer(): Committer | null {
    const { member } = this.#session.options;
    return this.#epoch > 0 ? { memberId: member, epoch: this.#epoch, instanceId: null } : null;
  }

  async beat(): Promise<number> {
    return this.#accept(await this.#heartbeat(this.#epoch));
  }

  refused(error: unknown): number | null {
    const isFenced = hasCode(
      error,
      KafkaCode.fencedMemberEpoch,
      KafkaCode.unknownMemberId,
      KafkaCode.groupIdNotFound,
    );
    if (!isFenced || this.#epoch === JOINING_EPOCH) return null;
    this.#epoch = JOINING_EPOCH;
    this.#owned.clear();
    this.#releasing.clear();
    this.#session.lost();
    return 0;
  }

  interrupt(): Promise<void> {
    return Promise.resolve();
  }

  async leave(): Promise<void> {
    if (this.#epoch > 0) await this.#heartbeat(LEAVING_EPOCH);
  }

  async #heartbeat(epoch: number): Promise<consumerGroupHeartbeatV1.ConsumerGroupHeartbeatResponse> {
    const { cluster, connections, options } = this.#session;
    const { topic, group, member } = options;
    const id = (await cluster.metadata(topic)).topics.get(topic)?.id ?? '';
    const owned = epoch > 0 && this.#owned.size > 0 ? [{ topicId: id, partitions: [...this.#owned] }] : [];
    const coordinator = await cluster.coordinatorOf(group);
    return cluster.send(
      'ConsumerGroupHeartbeat', connections, coordinator,
      group, member, epoch, null, null, REBALANCE_MS, [topic], null, null, owned,
    ); // prettier-ignore
  }

  /** Takes over what the group gives, gives up what it takes away. @returns how long to rest, ms */
  #accept(answer: consumerGroupHeartbeatV1.ConsumerGroupHeartbeatResponse): number {
    this.#epoch = answer.memberEpoch;
    if (answer.assignment !== null) {
      const target = new Set(answer.assignment.topicPartitions.flatMap(({ partitions }) => partitions));
      for (const partition of target) this.#owned.add(partition);
      this.#session.events.assigned([...target].filter((partition) => !this.#releasing.has(partition)));
      const revoked = [...this.#owned].filter((each) => !target.has(each) && !this.#releasing.has(each));
      if (revoked.length > 0) void this.#release(revoked);
    }
    this.#session.joined();
    return answer.heartbeatIntervalMs;
  }

  async #release(partitions: readonly number[]): Promise<void> {
    for (const partition of partitions) this.#releasing.add(partition);
    await this.#session.events.release(partitions);
    for (const partition of partitions) {
      if (this.#releasing.delete(partition)) this.#owned.delete(partition);
    }
    this.#session.hurry();
  }
}
