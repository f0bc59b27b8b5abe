import { randomUUID } from 'node:crypto';
import type { ConnectionOptions } from 'node:tls';
import { wallMs } from '../../core/time.ts';
import {
  BusError,
  INBOX,
  INBOX_GROUP,
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
import { RedisConnection } from './connection.ts';
import { streamKey, toDelivery } from './entry.ts';
import { toBusError } from './errors.ts';
import { ANSWER_MS, RedisGroups, type Stream } from './group/groups.ts';
import { RedisMember } from './group/member.ts';
import { RedisFollower } from './follower.ts';
import { RedisInbox } from './inbox.ts';
import { RedisPartitionReader } from './partition-reader.ts';
import { LogScopedCheckpoints } from '../checkpoints.ts';
import { LogAges, NO_BOUNDS, type TrimBounds } from '../log-ages.ts';
import { BEGINNING, comparePositions } from './stream-id.ts';
import { RedisPublisher } from './publisher.ts';
import { readLastGenerated } from './replies.ts';
import { readMemory, RedisTrimmer } from './capacity.ts';
import { describeDurability, evicts, hasWaitAof, readSettings, refuseUnfit } from './server-settings.ts';

export interface RedisBusOptions extends BusOptions {
  /** publish() waits until the append-only file is on disk (Redis 7.2 and later; up to 1 s with appendfsync everysec) */
  waitAof?: boolean;
  /** for rediss://: a private certificate authority, a client certificate */
  tls?: ConnectionOptions;
}

/**
 * Redis Streams. Rejects with BusError: `unreachable` may be tried again, `setup` names what must be corrected.
 * @param uri redis:// or rediss://, with user, password and database
 */
export async function openRedisBus(uri: string, options: RedisBusOptions): Promise<StreamBus> {
  const connect = (purpose: string): RedisConnection =>
    new RedisConnection({
      uri,
      tls: options.tls,
      name: `${options.clientName}:${purpose}`,
      env: options.env,
    });
  const commands = connect('commands');
  try {
    const settings = await commands.run(ANSWER_MS, readSettings);
    refuseUnfit(settings);
    if (options.waitAof === true && !hasWaitAof(settings)) {
      throw new BusError(
        'setup',
        `WAITAOF needs Redis 7.2 or later; this is ${settings.version ?? 'unknown'}`,
      );
    }
    return new RedisBus(connect, commands, options);
  } catch (error) {
    commands.close();
    throw toBusError(error, 'opening the bus');
  }
}

class RedisBus implements StreamBus {
  readonly kind = 'redis';
  readonly #connect: (purpose: string) => RedisConnection;
  readonly #options: RedisBusOptions;
  readonly #commands: RedisConnection;
  readonly #publishing: RedisConnection;
  readonly #publisher: RedisPublisher;
  readonly #groups: RedisGroups;
  readonly #trimmer = new RedisTrimmer();
  readonly #ages: LogAges;
  readonly #open = new Set<RedisMember | RedisPartitionReader | RedisInbox | RedisFollower>();
  /** topics of the configuration and those used since */
  readonly #topics: Set<string>;
  #warnedOfEviction = false;

  constructor(
    connect: (purpose: string) => RedisConnection,
    commands: RedisConnection,
    options: RedisBusOptions,
  ) {
    this.#connect = connect;
    this.#options = options;
    this.#commands = commands;
    this.#publishing = connect('publisher');
    this.#publisher = new RedisPublisher(this.#publishing, options.waitAof === true);
    const checkpoints = new LogScopedCheckpoints(options.checkpoints, (topic) => logNameOf(commands, topic));
    this.#groups = new RedisGroups(commands, checkpoints, options.env.log);
    this.#ages = new LogAges({
      ends: async (topic) => {
        const partitions = this.#all(topic).map(({ partition }) => partition);
        const ends = await Promise.all(partitions.map((partition) => this.end(topic, partition)));
        return new Map(partitions.map((partition, at) => [partition, ends[at]]));
      },
      compare: comparePositions,
      logName: (topic) => this.logName(topic),
      store: options.ends,
      clock: options.env.clock,
    });
    this.#topics = new Set(Object.keys(options.partitions));
  }

  partitions(topic: string): number {
    return this.#options.partitions[topic] ?? 1;
  }

  async publish(topic: string, records: readonly OutgoingRecord[]): Promise<string[]> {
    this.#topics.add(topic);
    return this.#publisher.publish(topic, this.partitions(topic), records);
  }

  async join(options: GroupOptions): Promise<GroupMember> {
    const streams = this.#streams(options.topic);
    await this.#do('joining', () => this.#groups.ensure(streams, options.group));
    const member: RedisMember = new RedisMember(streams, options, {
      onLeft: () => this.#open.delete(member),
      reader: this.#connect(`${options.group}:${options.member}`),
      commands: this.#commands,
      groups: this.#groups,
      env: this.#options.env,
    });
    this.#open.add(member);
    return member;
  }

  async openPartition(
    options: Omit<GroupOptions, 'takeoverMs'> & { partition: number; after: string | null },
  ): Promise<PartitionReader> {
    const stream = this.#stream(options.topic, options.partition);
    await this.#do('opening a partition', () => this.#groups.ensure([stream], options.group));
    const reader: RedisPartitionReader = new RedisPartitionReader(stream, options, {
      onClosed: () => this.#open.delete(reader),
      reader: this.#connect(`${options.group}:${options.member}`),
      commands: this.#commands,
      groups: this.#groups,
      clock: this.#options.env.clock,
    });
    this.#open.add(reader);
    return reader;
  }

  hasInbox(topic: string): boolean {
    return this.partitions(topic) > 1;
  }

  async openInbox(topic: string, member: string): Promise<TopicInbox> {
    if (!this.hasInbox(topic)) throw new BusError('setup', `${topic} has no inbox`);
    const stream = this.#stream(topic, INBOX);
    const inbox: RedisInbox = await this.#do('opening the inbox', () =>
      RedisInbox.open(stream, this.partitions(topic), member, {
        onClosed: () => this.#open.delete(inbox),
        connect: this.#connect,
        commands: this.#commands,
        groups: this.#groups,
        clock: this.#options.env.clock,
      }),
    );
    this.#open.add(inbox);
    return inbox;
  }

  async follow(topic: string, partition: number, after: string | null): Promise<BusFollower> {
    const follower: RedisFollower = new RedisFollower(this.#stream(topic, partition), after, {
      reader: this.#connect(`follower of ${topic} ${partition}`),
      clock: this.#options.env.clock,
      onClosed: () => this.#open.delete(follower),
    });
    this.#open.add(follower);
    return follower;
  }

  async read(topic: string, partition: number, after: string | null, limit: number): Promise<Delivery[]> {
    if (limit <= 0) return [];
    const { key } = this.#stream(topic, partition);
    const from = after === null ? '-' : `(${after}`;
    return this.#do('reading', () =>
      this.#commands.run(ANSWER_MS, async (client) => {
        const entries = await client.xrangeBuffer(key, from, '+', 'COUNT', limit);
        return entries.map((entry) => toDelivery(topic, partition, entry, 1, this.#nowMs()));
      }),
    );
  }

  async tail(topic: string, partition: number, limit: number): Promise<Delivery[]> {
    if (limit <= 0) return [];
    const { key } = this.#stream(topic, partition);
    return this.#do('reading', () =>
      this.#commands.run(ANSWER_MS, async (client) => {
        const entries = await client.xrevrangeBuffer(key, '+', '-', 'COUNT', limit);
        return entries.map((entry) => toDelivery(topic, partition, entry, 1, this.#nowMs())).toReversed();
      }),
    );
  }

  async end(topic: string, partition: number): Promise<string | null> {
    const { key } = this.#stream(topic, partition);
    const newest = await this.#do('reading', () =>
      this.#commands.run(ANSWER_MS, (client) => readLastGenerated(client, key)),
    );
    return newest === BEGINNING ? null : newest;
  }

  logName(topic: string): Promise<string> {
    return this.#do('reading the name of the log', () => logNameOf(this.#commands, topic));
  }

  compare(a: string, b: string): number {
    return comparePositions(a, b);
  }

  async groups(topic: string): Promise<GroupInfo[]> {
    return this.#do('looking at groups', () => this.#groups.list(this.#all(topic)));
  }

  async dropGroup(topic: string, group: string): Promise<boolean> {
    const streams = this.#all(topic);
    const dropped = await this.#do('dropping a group', () => this.#groups.drop(streams, group));
    for (const { key } of streams) this.#trimmer.forget(key, group);
    return dropped;
  }

  async trim(topic: string, policy: TrimPolicy): Promise<number> {
    const bounds = await this.#ages.bounds(topic, policy);
    let count = 0;
    for (const stream of this.#all(topic)) count += await this.#trim(stream, bounds.get(stream.partition));
    return count;
  }

  async remove(topic: string, partition: number, upTo: string): Promise<number> {
    return this.#trim(this.#stream(topic, partition), { acknowledged: upTo, unclaimed: upTo });
  }

  async usage(): Promise<BusUsage> {
    const streams = [...this.#topics].flatMap((topic) => this.#all(topic));
    const memory = await this.#do('measuring', () =>
      this.#commands.run(ANSWER_MS, (client) => readMemory(client, streams, this.#options.maxBytes)),
    );
    const evicting = evicts(memory.maxmemory, memory.policy);
    if (evicting && !this.#warnedOfEviction) {
      this.#options.env.log('error', 'Redis will evict streams: CONFIG SET maxmemory-policy noeviction', {
        policy: memory.policy,
      });
    }
    this.#warnedOfEviction = evicting;
    return memory.usage;
  }

  async durability(): Promise<Durability> {
    const settings = await this.#do('looking at settings', () => this.#commands.run(ANSWER_MS, readSettings));
    return describeDurability(settings, this.#options.waitAof === true);
  }

  async close(): Promise<void> {
    for (const each of this.#open) each.disconnect();
    this.#open.clear();
    this.#publishing.close();
    this.#commands.close();
  }

  #trim(stream: Stream, bounds: TrimBounds = NO_BOUNDS): Promise<number> {
    const neededBy = stream.partition === INBOX ? INBOX_GROUP : null;
    return this.#do('trimming', () =>
      this.#commands.run(ANSWER_MS, (client) => this.#trimmer.trim(client, stream, bounds, neededBy)),
    );
  }

  #nowMs(): number {
    return wallMs(this.#options.env.clock);
  }

  #stream(topic: string, partition: number): Stream {
    this.#topics.add(topic);
    const key = partition === INBOX ? topic : streamKey(topic, partition, this.partitions(topic));
    return { topic, partition, key };
  }

  #streams(topic: string): Stream[] {
    return Array.from({ length: this.partitions(topic) }, (_, partition) => this.#stream(topic, partition));
  }

  /** With the topic's inbox, if it has one. */
  #all(topic: string): Stream[] {
    const streams = this.#streams(topic);
    return this.hasInbox(topic) ? [...streams, this.#stream(topic, INBOX)] : streams;
  }

  async #do<T>(doing: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw toBusError(error, doing);
    }
  }
}

/** Stored beside the data, so that another server, or this one after FLUSHALL, has another name. */
function logNameOf(connection: RedisConnection, topic: string): Promise<string> {
  const key = `${topic}.id`;
  return connection.run(ANSWER_MS, async (client) => {
    const known = await client.get(key);
    if (known !== null) return `redis:${known}`;
    await client.set(key, randomUUID(), 'NX');
    return `redis:${await client.get(key)}`;
  });
}
