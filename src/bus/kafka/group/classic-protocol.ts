import {
  decodeConsumerProtocolAssignment, decodeConsumerProtocolSubscription,
  encodeConsumerProtocolAssignment, encodeConsumerProtocolSubscription,
  type joinGroupV9,
} from '@platformatic/kafka'; // prettier-ignore
import type { BrokerConnections } from '../connections.ts';
import { hasCode, KafkaCode } from '../errors.ts';
import type { GroupProtocol, GroupSession } from './membership.ts';
import type { Committer } from './offsets.ts';

const PROTOCOL_TYPE = 'consumer';
const ASSIGNOR = 'range';
const HEARTBEATS_A_SESSION = 4;
/** a member learns with its next heartbeat that others want a share, ms */
const HEARTBEAT_MS = 3000;
/** how long the group waits for a member that has records in flight before it goes on without it, ms */
const REBALANCE_MS = 300_000;
/** a join without an answer for this long is waiting for other members, ms */
const ASKED_MS = 500;

/**
 * The older protocol, in which the members assign the partitions themselves and give up all of them to do so. The member's
 * name is its group.instance.id, so that a restarted member gets back at once what it had.
 */
export class ClassicProtocol implements GroupProtocol {
  readonly #session: GroupSession;
  /** the broker answers a join when all have joined, and until then nothing else on that connection */
  readonly #joining: BrokerConnections;
  readonly #restMs: number;
  #memberId = '';
  /** it has asked to join at least once */
  #asking = false;
  /** below 0: it is no member */
  #generation = -1;
  #owned: number[] = [];
  /** others want a share: first what is in flight is acknowledged (`draining`), then the member joins again (`drained`) */
  #releasing: 'no' | 'draining' | 'drained' = 'no';

  constructor(session: GroupSession) {
    const { cluster, options } = session;
    this.#session = session;
    this.#joining = cluster.openConnections(REBALANCE_MS + cluster.requestTimeoutMs);
    this.#restMs = Math.min(options.sessionMs / HEARTBEATS_A_SESSION, HEARTBEAT_MS);
  }

  get committer(): Committer | null {
    if (this.#generation < 0) return null;
    const { member } = this.#session.options;
    return { memberId: this.#memberId, epoch: this.#generation, instanceId: member };
  }

  async beat(): Promise<number> {
    if (this.#generation < 0 || this.#releasing === 'drained') await this.#join();
    else await this.#heartbeat();
    return this.#restMs;
  }

  refused(error: unknown): number | null {
    if (hasCode(error, KafkaCode.memberIdRequired)) {
      this.#memberId = memberIdOf(error) ?? '';
      return 0;
    }
    if (hasCode(error, KafkaCode.rebalanceInProgress)) {
      if (this.#generation < 0 || this.#releasing === 'drained') return 0;
      if (this.#releasing === 'no') void this.#release();
      return this.#restMs;
    }
    if (!hasCode(error, KafkaCode.unknownMemberId, KafkaCode.illegalGeneration, KafkaCode.fencedInstanceId)) {
      return null;
    }
    const wasMember = this.#generation >= 0;
    this.#generation = -1;
    this.#releasing = 'no';
    if (!hasCode(error, KafkaCode.illegalGeneration)) this.#memberId = '';
    if (wasMember) {
      this.#owned = [];
      this.#session.lost();
    }
    // another process has this name: without a rest the two would fence each other in a tight loop
    return hasCode(error, KafkaCode.fencedInstanceId) ? this.#restMs : 0;
  }

  /** A join that waits for others ends with its connection. */
  interrupt(): Promise<void> {
    return this.#session.cluster.discard(this.#joining);
  }

  async leave(): Promise<void> {
    if (!this.#asking) return;
    const { cluster, connections, options } = this.#session;
    const { group, member } = options;
    const coordinator = await cluster.coordinatorOf(group);
    const members = [{ memberId: this.#memberId, groupInstanceId: member }];
    await cluster.send('LeaveGroup', connections, coordinator, group, members);
  }

  async #heartbeat(): Promise<void> {
    const { cluster, connections, options } = this.#session;
    const { group, member } = options;
    const coordinator = await cluster.coordinatorOf(group);
    await cluster.send(
      'Heartbeat', connections, coordinator, group, this.#generation, this.#memberId, member,
    ); // prettier-ignore
  }

  async #join(): Promise<void> {
    const { cluster, options, events } = this.#session;
    const { topic, group, member, sessionMs } = options;
    const coordinator = await cluster.coordinatorOf(group);
    const metadata = encodeConsumerProtocolSubscription({ version: 0, topics: [topic] });
    this.#asking = true;
    // the group has the request and is waiting for the other members
    const asked = setTimeout(() => this.#session.joined(), ASKED_MS).unref();
    const joining = cluster.send(
      'JoinGroup', this.#joining, coordinator,
      group, sessionMs, REBALANCE_MS, this.#memberId, member, PROTOCOL_TYPE, [{ name: ASSIGNOR, metadata }], null,
    ); // prettier-ignore
    const joined = await joining.finally(() => clearTimeout(asked));
    this.#memberId = joined.memberId;
    const leads = joined.leader === joined.memberId && joined.members.length > 0;
    const answer = await cluster.send(
      'SyncGroup', this.#joining, coordinator,
      group, joined.generationId, joined.memberId, member, PROTOCOL_TYPE, joined.protocolName,
      leads ? await this.#assign(joined.members) : [],
    ); // prettier-ignore
    this.#generation = joined.generationId;
    this.#releasing = 'no';
    const mine = answer.assignment.length === 0 ? [] : decodeConsumerProtocolAssignment(answer.assignment).assignedPartitions; // prettier-ignore
    this.#owned = mine.filter((each) => each.topic === topic).flatMap(({ partitions }) => partitions);
    events.assigned(this.#owned);
    this.#session.joined();
  }

  /** Gives each member a contiguous range of every topic it asked for, in the order of the members' names. */
  async #assign(
    members: readonly joinGroupV9.JoinGroupResponseMember[],
  ): Promise<{ memberId: string; assignment: Buffer }[]> {
    const byTopic = new Map<string, string[]>();
    const inOrder = [...members].sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
    for (const { memberId, metadata } of inOrder) {
      for (const topic of decodeConsumerProtocolSubscription(metadata).topics) {
        byTopic.set(topic, [...(byTopic.get(topic) ?? []), memberId]);
      }
    }
    const shares = new Map<string, { topic: string; partitions: number[] }[]>();
    for (const [topic, interested] of byTopic) {
      const count = (await this.#session.cluster.metadata(topic)).topics.get(topic)?.partitionsCount ?? 0;
      for (const [at, memberId] of interested.entries()) {
        const from = Math.ceil((count * at) / interested.length);
        const to = Math.ceil((count * (at + 1)) / interested.length);
        const partitions = Array.from({ length: to - from }, (_, index) => from + index);
        shares.set(memberId, [...(shares.get(memberId) ?? []), { topic, partitions }]);
      }
    }
    return members.map(({ memberId }) => ({
      memberId,
      assignment: encodeConsumerProtocolAssignment({
        version: 0,
        assignedPartitions: shares.get(memberId) ?? [],
      }),
    }));
  }

  /** Waits until what is in flight is acknowledged, while heartbeats go on; then the member joins again. */
  async #release(): Promise<void> {
    this.#releasing = 'draining';
    await this.#session.events.release(this.#owned);
    // lost or joined again meanwhile: nothing is left to do
    if (this.#releasing !== 'draining') return;
    this.#releasing = 'drained';
    this.#session.hurry();
  }
}

function nameOf(member: joinGroupV9.JoinGroupResponseMember): string {
  return member.groupInstanceId ?? member.memberId;
}

function memberIdOf(error: unknown): string | undefined {
  return (error as { response?: { memberId?: string } }).response?.memberId;
}
