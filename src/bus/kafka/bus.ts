import {
  BusError,
  TAKEOVER_MS,
  type BusFollower,
  type BusOptions,
  type BusUsage,
  type Delivery,
  type Durability,
  type GroupInfo,
  type GroupMember,
  type GroupOptions,
  type OutgoingRecord,
  type PartitionReader,
  type StreamBus,
  type TopicInbox,
  type TrimPolicy,
} from '../bus.ts';
import { KafkaFollower } from './follower.ts';
import { ClassicProtocol } from './group/classic-protocol.ts';
import { KafkaCluster, type KafkaAccess } from './cluster.ts';
import { ConsumerProtocol } from './group/consumer-protocol.ts';
import { busError, isWrongAccess } from './errors.ts';
import { startingOffsets, offsetsAt } from './group/offsets.ts';
import { dropGroup, groupInfos, lagOf } from './group/groups.ts';
import { readFrom, readTail } from './range-read.ts';
import { KafkaMember } from './group/member.ts';
import { Membership } from './group/membership.ts';
import { KafkaProducer } from './producer.ts';
import { KafkaPartitionReader } from './partition-reader.ts';
import { LogScopedCheckpoints } from '../checkpoints.ts';
import { LogAges, type TrimBounds } from '../log-ages.ts';
import { sessionMs } from './group/session-timeout.ts';
import { KafkaTopics } from './topics.ts';
import { trim, usage } from './capacity.ts';

/** the first version in which a member chooses its own id */
const KIP_848_VERSION = 1;

export type KafkaBusOptions = BusOptions & KafkaAccess;

/**
 * The stream bus on Apache Kafka: a topic's partitions are Kafka's, positions are offsets. The members of a group get whole
 * partitions: when there are more members than partitions, some get nothing.
 */
export class KafkaBus implements StreamBus {
  readonly kind = 'kafka';
  readonly #options: KafkaBusOptions;
  readonly #cluster: KafkaCluster;
  readonly #topics: KafkaTopics;
  readonly #publisher: KafkaProducer;
  readonly #members = new Set<KafkaMember>();
  readonly #readers = new Set<KafkaPartitionReader>();
  readonly #followers = new Set<KafkaFollower>();
  readonly #ages: LogAges;

  private constructor(options: KafkaBusOptions) {
    this.#cluster = new KafkaCluster(options, options);
    this.#topics = new KafkaTopics(this.#cluster, options.partitions);
    this.#options = {
      ...options,
      checkpoints: new LogScopedCheckpoints(options.checkpoints, (topic) => this.#topics.logName(topic)),
    };
    this.#publisher = new KafkaProducer(this.#cluster, this.#topics);
    this.#ages = new LogAges({
      ends: (topic) => this.#ends(topic),
      compare: (a, b) => this.compare(a, b),
      logName: (topic) => this.#topics.logName(topic),
      store: options.ends,
      clock: options.env.clock,
    });
  }

  /** Connects. @throws BusError */
  static async open(options: KafkaBusOptions): Promise<KafkaBus> {
    const bus = new KafkaBus(options);
    try {
      await bus.#cluster.retry('connecting to Kafka', () => bus.#connect());
    } catch (error) {
      await bus.close();
      throw error;
    }
    return bus;
  }

  partitions(topic: string): number {
    return this.#topics.partitions(topic);
  }

  publish(topic: string, records: readonly OutgoingRecord[]): Promise<string[]> {
    return this.#publisher.publish(topic, records);
  }

  async join(options: GroupOptions): Promise<GroupMember> {
    const { topic, group } = options;
    await this.#topics.ready(topic);
    const protocol = await this.#protocol();
    const session = await sessionMs(this.#cluster, group, protocol, options.takeoverMs ?? TAKEOVER_MS);
    const membership = { topic, group, member: options.member, sessionMs: session };
    const protocolClass = protocol === 'consumer' ? ConsumerProtocol : ClassicProtocol;
    const partitions = this.#all(topic);
    const member = new KafkaMember(this.#cluster, options, {
      checkpoints: this.#options.checkpoints,
      partitions,
      membership: (events) => new Membership(this.#cluster, membership, events, protocolClass),
      lagMs: () => lagOf(this.#cluster, topic, group, partitions),
      left: () => this.#members.delete(member),
    });
    this.#members.add(member);
    try {
      await member.start();
    } catch (error) {
      await member.leave();
      throw error;
    }
    return member;
  }

  async openPartition(
    options: Omit<GroupOptions, 'takeoverMs'> & { partition: number; after: string | null },
  ): Promise<PartitionReader> {
    const { topic, group, partition, after } = options;
    await this.#topics.ready(topic);
    const { offsets, open } = await startingOffsets(
      this.#cluster,
      this.#options.checkpoints,
      topic,
      group,
      this.#all(topic),
    );
    if (open.size > 0)
      throw new BusError('setup', `group ${group} has members: its partitions cannot be owned`);
    const earliest = await offsetsAt(this.#cluster, topic, [partition], 'earliest');
    const reader = new KafkaPartitionReader(this.#cluster, {
      ...options,
      offset: after === null ? (earliest.get(partition) ?? 0) : Number(after) + 1,
      released: offsets.get(partition) ?? 0,
      closed: () => this.#readers.delete(reader),
    });
    this.#readers.add(reader);
    return reader;
  }

  /** Its producers choose the partition: there is no name beside them. */
  hasInbox(): boolean {
    return false;
  }

  openInbox(topic: string): Promise<TopicInbox> {
    return Promise.reject(new BusError('setup', `${topic} has no inbox`));
  }

  async follow(topic: string, partition: number, after: string | null): Promise<BusFollower> {
    await this.#topics.ready(topic);
    const earliest = async (): Promise<number> =>
      (await offsetsAt(this.#cluster, topic, [partition], 'earliest')).get(partition) ?? 0;
    const offset = after === null ? await earliest() : Number(after) + 1;
    const follower: KafkaFollower = new KafkaFollower(this.#cluster, { topic, partition, offset }, () =>
      this.#followers.delete(follower),
    );
    this.#followers.add(follower);
    return follower;
  }

  async read(topic: string, partition: number, after: string | null, limit: number): Promise<Delivery[]> {
    await this.#topics.ready(topic);
    return readFrom(this.#cluster, topic, partition, after === null ? 0 : Number(after) + 1, limit);
  }

  async tail(topic: string, partition: number, limit: number): Promise<Delivery[]> {
    await this.#topics.ready(topic);
    return readTail(this.#cluster, topic, partition, limit);
  }

  async end(topic: string, partition: number): Promise<string | null> {
    await this.#topics.ready(topic);
    return lastBefore((await offsetsAt(this.#cluster, topic, [partition], 'latest')).get(partition));
  }

  async logName(topic: string): Promise<string> {
    await this.#topics.ready(topic);
    return this.#topics.logName(topic);
  }

  compare(a: string, b: string): number {
    return Number(a) - Number(b);
  }

  async groups(topic: string): Promise<GroupInfo[]> {
    if ((await this.#topics.existing([topic])).length === 0) return [];
    return groupInfos(this.#cluster, topic, this.#all(topic), (group, partition) => {
      const members = [...this.#members].filter((member) => member.topic === topic && member.group === group);
      return members.reduce((sum, member) => sum + member.pending(partition), 0);
    });
  }

  async dropGroup(topic: string, group: string): Promise<boolean> {
    return dropGroup(this.#cluster, topic, group, this.#all(topic));
  }

  async trim(topic: string, policy: TrimPolicy): Promise<number> {
    if ((await this.#topics.existing([topic])).length === 0) return 0;
    return this.#trim(topic, await this.#ages.bounds(topic, policy));
  }

  async remove(topic: string, partition: number, upTo: string): Promise<number> {
    return this.#trim(topic, new Map([[partition, { acknowledged: upTo, unclaimed: upTo }]]));
  }

  async usage(): Promise<BusUsage> {
    const topics = await this.#topics.existing(this.#topics.names());
    const all = topics.map((topic) => ({ topic, partitions: this.#all(topic) }));
    return usage(this.#cluster, all, this.#options.maxBytes);
  }

  /** acks=all is as good as the cluster: a broker does not flush before it answers, so a single replica can lose records. */
  async durability(): Promise<Durability> {
    const topics = await this.#topics.existing(this.#topics.names());
    const all = await Promise.all(
      topics.map(async (topic) => ({ topic, ...(await this.#topics.ready(topic)) })),
    );
    if (all.length === 0)
      return { lossFree: false, why: 'no topic exists yet, so its replication is not known' };
    const [weakest] = all.sort((a, b) => strength(a) - strength(b));
    const { topic, replicas, minInsyncReplicas, flushed } = weakest;
    const settings = `acks=all with replication factor ${replicas} and min.insync.replicas ${minInsyncReplicas} (${topic})`;
    if (flushed) return { lossFree: true, why: `${settings}, every record flushed (flush.messages 1)` };
    if (Math.min(replicas, minInsyncReplicas) > 1) {
      return {
        lossFree: true,
        why: `${settings}: a record is with ${minInsyncReplicas} brokers before it is acknowledged`,
      };
    }
    return {
      lossFree: false,
      why: `${settings}: a power loss of one broker can cost what its operating system had not written yet`,
    };
  }

  async close(): Promise<void> {
    await Promise.all([...this.#members].map((member) => member.leave()));
    await Promise.all([...this.#readers, ...this.#followers].map((reader) => reader.close()));
    await this.#cluster.close();
  }

  async #connect(): Promise<void> {
    try {
      await this.#cluster.admin.metadata({ topics: [], forceUpdate: true });
    } catch (error) {
      if (isWrongAccess(error))
        throw new BusError('setup', busError(error, 'connecting to Kafka').message, error);
      throw error;
    }
  }

  async #protocol(): Promise<'consumer' | 'classic'> {
    if (this.#options.groupProtocol === 'classic') return 'classic';
    const speaks = await this.#cluster.retry('asking what the brokers speak', () =>
      this.#cluster.speaks('ConsumerGroupHeartbeat', KIP_848_VERSION),
    );
    return speaks ? 'consumer' : 'classic';
  }

  async #ends(topic: string): Promise<Map<number, string | null>> {
    const partitions = this.#all(topic);
    const next = await offsetsAt(this.#cluster, topic, partitions, 'latest');
    return new Map(partitions.map((partition) => [partition, lastBefore(next.get(partition))]));
  }

  #trim(topic: string, bounds: ReadonlyMap<number, TrimBounds>): Promise<number> {
    const mine = [...this.#members, ...this.#readers].filter((each) => each.topic === topic);
    return trim(this.#cluster, topic, bounds, new Set(mine.map(({ group }) => group)));
  }

  #all(topic: string): number[] {
    return Array.from({ length: this.#topics.partitions(topic) }, (_, partition) => partition);
  }
}

/** Position of the record before an offset; null: there never was one. */
function lastBefore(next = 0): string | null {
  return next === 0 ? null : String(next - 1);
}

function strength({
  flushed,
  replicas,
  minInsyncReplicas,
}: {
  flushed: boolean;
  replicas: number;
  minInsyncReplicas: number;
}): number {
  return flushed ? Number.POSITIVE_INFINITY : Math.min(replicas, minInsyncReplicas);
}
