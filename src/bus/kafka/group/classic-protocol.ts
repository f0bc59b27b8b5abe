import {
  decodeConsumerProtocolAssignment, decodeConsumerProtocolSubscription,
  encodeConsumerProtocolAssignment, encodeConsumerProtocolSubscription,
  type joinGroupV9,
} from '@platformatic/kafka'; // prettier-ignore
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

const PROTOCOL_TYPE = 'consumer';
const ASSIGNOR = 'range';
const HEARTBEATS_A_SESSION = 4;
/** that others want a share is heard with a heartbeat, ms */
const HEARTBEAT_MS = 3000;
/** the group waits so long for a member that still has records in flight; then it goes on without it */
const REBALANCE_MS = 300_000;
/** a join without an answer for so long waits for others, ms */
const ASKED_MS = 500;
const LEAVE_MS = 3000;
const BACKOFF = { firstMs: 50, maxMs: 1000 };

/**
 * The older protocol, in which members assign the partitions among themselves and give up all of them for it. The
 * member's name is its group.instance.id, so that a restarted member gets back at once what it had.
 */
export class ClassicProtocol implements Membership {
  readonly connections: BrokerConnections;
  /** the broker answers a join when everybody has joined, and nothing else on that connection before */
  readonly #joining: BrokerConnections;
  readonly #cluster: KafkaCluster;
  readonly #options: MembershipOptions;
  readonly #events: MembershipEvents;
  readonly #heart = new Heart();
  #memberId = '';
  /** it has asked to join at least once */
  #asking = false;
  #generation = -1;
  #owned: number[] = [];
  #releasing: 'no' | 'yes' | 'done' = 'no';
  #failure: BusError | null = null;
  #joined = Promise.withResolvers<void>();
  /** the group knows of it, and lets it wait for the others */
  #asked = Promise.withResolvers<void>();
  #running: Promise<void> = Promise.resolve();
  #left = false;

  constructor(cluster: KafkaCluster, options: MembershipOptions, events: MembershipEvents) {
    this.#cluster = cluster;
    this.#options = options;
    this.#events = events;
    this.connections = cluster.openConnections();
    this.#joining = cluster.openConnections(REBALANCE_MS + cluster.requestTimeoutMs);
    this.#joined.promise.catch(() => {});
  }

  get committer(): Committer | null {
    if (this.#generation < 0) return null;
    return { memberId: this.#memberId, epoch: this.#generation, instanceId: this.#options.member };
  }

  get failure(): BusError | null {
    return this.#failure;
  }

  async start(): Promise<void> {
    this.#running = this.#live();
    try {
      await joinedInTime(
        Promise.race([this.#joined.promise, this.#asked.promise]),
        this.#cluster,
        this.#options.group,
      );
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
    // a join that waits for others ends with its connection
    await this.#cluster.discard(this.#joining);
    // without an answer it is given up when its session ends
    const ended = await atMost(this.#running, LEAVE_MS);
    if (ended && this.#asking) await atMost(this.#sayGoodbye(), LEAVE_MS);
    this.#generation = -1;
    await this.#cluster.discard(this.connections);
  }

  async #sayGoodbye(): Promise<void> {
    const { group, member } = this.#options;
    const coordinator = await this.#cluster.coordinatorOf(group);
    await this.#cluster.send('LeaveGroup', this.connections, coordinator, group, [
      { memberId: this.#memberId, groupInstanceId: member },
    ]);
  }

  async #live(): Promise<void> {
    let failures = 0;
    while (!this.#left) {
      let restMs = Math.min(this.#options.sessionMs / HEARTBEATS_A_SESSION, HEARTBEAT_MS);
      try {
        if (this.#generation < 0 || this.#releasing === 'done') await this.#join();
        else await this.#heartbeat();
        failures = 0;
        this.#failure = null;
      } catch (error) {
        if (!this.#left) restMs = this.#misheard(error, failures++, restMs);
      }
      this.#heart.beat();
      if (!this.#left) await this.#heart.rest(restMs);
    }
    this.#joined.reject(
      this.#failure ??
        new BusError('unreachable', `group ${this.#options.group} was left before it was joined`),
    );
  }

  async #heartbeat(): Promise<void> {
    const { group, member } = this.#options;
    const coordinator = await this.#cluster.coordinatorOf(group);
    await this.#cluster.send(
      'Heartbeat',
      this.connections,
      coordinator,
      group,
      this.#generation,
      this.#memberId,
      member,
    );
  }

  async #join(): Promise<void> {
    const { topic, group, member, sessionMs } = this.#options;
    const coordinator = await this.#cluster.coordinatorOf(group);
    const metadata = encodeConsumerProtocolSubscription({ version: 0, topics: [topic] });
    this.#asking = true;
    const asked = setTimeout(() => this.#asked.resolve(), ASKED_MS).unref();
    const joining = this.#cluster.send(
      'JoinGroup', this.#joining, coordinator,
      group, sessionMs, REBALANCE_MS, this.#memberId, member, PROTOCOL_TYPE, [{ name: ASSIGNOR, metadata }], null,
    ); // prettier-ignore
    const joined = await joining.finally(() => clearTimeout(asked));
    this.#memberId = joined.memberId;
    const leads = joined.leader === joined.memberId && joined.members.length > 0;
    const answer = await this.#cluster.send(
      'SyncGroup', this.#joining, coordinator,
      group, joined.generationId, joined.memberId, member, PROTOCOL_TYPE, joined.protocolName,
      leads ? await this.#assign(joined.members) : [],
    ); // prettier-ignore
    this.#generation = joined.generationId;
    this.#releasing = 'no';
    const mine = answer.assignment.length === 0 ? [] : decodeConsumerProtocolAssignment(answer.assignment).assignedPartitions; // prettier-ignore
    this.#owned = mine.filter((each) => each.topic === topic).flatMap(({ partitions }) => partitions);
    this.#events.assigned(this.#owned);
    this.#joined.resolve();
  }

  /** Each member a contiguous range of every topic it asked for, in the order of their names. */
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
      const count = (await this.#cluster.metadata(topic)).topics.get(topic)?.partitionsCount ?? 0;
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

  /** What was in flight is worked off while heartbeats go on; only then is joined again. */
  async #release(): Promise<void> {
    this.#releasing = 'yes';
    await this.#events.release(this.#owned);
    // lost meanwhile, or joined again: that decided
    if (this.#releasing !== 'yes') return;
    this.#releasing = 'done';
    this.#heart.hurry();
  }

  #misheard(error: unknown, failures: number, restMs: number): number {
    const { group, member } = this.#options;
    if (hasCode(error, KafkaCode.memberIdRequired)) {
      this.#memberId = memberIdOf(error) ?? '';
      return 0;
    }
    if (hasCode(error, KafkaCode.rebalanceInProgress)) {
      if (this.#generation < 0 || this.#releasing === 'done') return 0;
      if (this.#releasing === 'no') void this.#release();
      return restMs;
    }
    if (hasCode(error, KafkaCode.unknownMemberId, KafkaCode.illegalGeneration, KafkaCode.fencedInstanceId)) {
      const wasMember = this.#generation >= 0;
      this.#generation = -1;
      this.#releasing = 'no';
      if (!hasCode(error, KafkaCode.illegalGeneration)) this.#memberId = '';
      if (wasMember) {
        this.#cluster.env.log('warn', 'kafka: no longer a member of the group, joining again', {
          group,
          member,
        });
        this.#owned = [];
        this.#events.lost();
      }
      // another process lives under this name: not to be answered at once, or the two would never rest
      return hasCode(error, KafkaCode.fencedInstanceId) ? restMs : 0;
    }
    const failure = busError(error, `group ${group}`);
    this.#cluster.noteFailure(error);
    if (failure.kind !== 'unreachable') {
      this.#failure = failure;
      if (this.#generation < 0) this.#joined.reject(failure);
    }
    return backoffMs(failures, BACKOFF, this.#cluster.env.random());
  }
}

function nameOf(member: joinGroupV9.JoinGroupResponseMember): string {
  return member.groupInstanceId ?? member.memberId;
}

function memberIdOf(error: unknown): string | undefined {
  return (error as { response?: { memberId?: string } }).response?.memberId;
}
