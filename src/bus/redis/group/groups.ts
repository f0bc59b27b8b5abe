import { isCredible, OldestWaiting } from '../../../core/bus/taken.ts';
import type { LogLine } from '../../../core/env.ts';
import type { Redis } from 'ioredis';
import { BusError, type GroupInfo, type GroupCheckpoints } from '../../bus.ts';
import type { RedisConnection } from '../connection.ts';
import { isGroupMissing, replyWord } from '../errors.ts';
import {
  BEGINNING,
  comparePositions,
  lowerPosition,
  positionAfter,
  positionBefore,
  positionMs,
} from '../stream-id.ts';
import {
  readConsumers,
  readGroups,
  readLastGenerated,
  readLowestPending,
  readNextId,
  readServerMs,
  type GroupReply,
} from '../replies.ts';

/** A connection whose non-blocking command is not answered within this time is given up, ms. */
export const ANSWER_MS = 10_000;
/** Name of the consumer that has pending what members gave back, until another takes it. */
export const GIVEN_BACK = '~given-back';
/** an older id is no time, ms: nothing waits on the bus for so long */
const BACKLOG_MS_MAX = 30 * 86_400_000;
/** members that were not seen for this long are not counted, ms; their heartbeats are more frequent */
const MEMBER_MS = 30_000;

/** The stream of one partition of a topic. */
export interface Stream {
  topic: string;
  partition: number;
  key: string;
}

/** Groups of the streams: created at their checkpoints, listed, dropped. */
export class RedisGroups {
  readonly #connection: RedisConnection;
  readonly #checkpoints: GroupCheckpoints;
  readonly #log: LogLine;
  readonly #waiting = new OldestWaiting();

  constructor(connection: RedisConnection, checkpoints: GroupCheckpoints, log: LogLine) {
    this.#connection = connection;
    this.#checkpoints = checkpoints;
    this.#log = log;
  }

  /**
   * Creates the group where it is missing: after its checkpoint, or at the beginning when there is none or when the stream
   * was made anew (the checkpoint lies beyond its newest entry). @returns what was created
   */
  async ensure(streams: readonly Stream[], group: string): Promise<{ stream: Stream; at: string }[]> {
    const made: { stream: Stream; at: string }[] = [];
    for (const stream of streams) {
      const { key } = stream;
      const groups = await this.#connection.run(ANSWER_MS, (client) => readGroups(client, key));
      if (groups.some(({ name }) => name === group)) continue;
      const checkpoint = await this.#readCheckpoint(stream, group);
      const newest = await this.#connection.run(ANSWER_MS, (client) => readLastGenerated(client, key));
      const at =
        checkpoint === null || newest === null || comparePositions(checkpoint, newest) > 0
          ? BEGINNING
          : checkpoint;
      if (await this.#create(key, group, at)) made.push({ stream, at });
    }
    return made;
  }

  /** Creates a group again that vanished (XGROUP DESTROY, FLUSHALL, an evicted key), and logs it. */
  async remake(streams: readonly Stream[], group: string): Promise<void> {
    for (const { stream, at } of await this.ensure(streams, group)) {
      const fields = { topic: stream.topic, group, partition: stream.partition, after: at };
      this.#log('warn', 'The group had vanished from Redis and was made again where it was', fields);
    }
  }

  async drop(streams: readonly Stream[], group: string): Promise<boolean> {
    let dropped = false;
    for (const { key } of streams) {
      if ((await this.#connection.run(ANSWER_MS, (client) => destroyGroup(client, key, group))) > 0)
        dropped = true;
    }
    return dropped;
  }

  /** Writes how far the group has acknowledged; null when there is no group. */
  async writeCheckpoint(stream: Stream, group: string): Promise<string | null> {
    const acknowledged = await this.#connection.run(ANSWER_MS, async (client) => {
      const found = (await readGroups(client, stream.key)).find(({ name }) => name === group);
      return found === undefined ? null : acknowledgedOf(client, stream.key, found);
    });
    if (acknowledged !== null && acknowledged !== BEGINNING) {
      await this.#checkpoints.write(stream.topic, group, stream.partition, acknowledged);
    }
    return acknowledged;
  }

  /** Age of the oldest entry not acknowledged over these streams, ms; 0 when there is none. */
  async lagMs(streams: readonly Stream[], group: string): Promise<number> {
    return this.#connection.run(ANSWER_MS, async (client) => {
      const ages = await Promise.all(
        streams.map(async ({ key }) => {
          const found = (await readGroups(client, key)).find(({ name }) => name === group);
          return found === undefined ? 0 : (await waitingOf(client, key, found, this.#waiting)).lagMs;
        }),
      );
      return Math.max(0, ...ages);
    });
  }

  async list(streams: readonly Stream[]): Promise<GroupInfo[]> {
    const infos = await Promise.all(
      streams.map((stream) =>
        this.#connection.run(ANSWER_MS, async (client) => {
          const groups = await readGroups(client, stream.key);
          const described = groups.map((group) => describe(client, stream, group, this.#waiting));
          return (await Promise.all(described)).filter((info) => info !== null);
        }),
      ),
    );
    return infos.flat();
  }

  async #readCheckpoint({ topic, partition }: Stream, group: string): Promise<string | null> {
    try {
      return await this.#checkpoints.read(topic, group, partition);
    } catch (error) {
      throw new BusError('unreachable', `the checkpoint of ${group} cannot be read`, error);
    }
  }

  /** False when somebody was faster. */
  async #create(key: string, group: string, at: string): Promise<boolean> {
    try {
      await this.#connection.run(ANSWER_MS, (client) => client.xgroup('CREATE', key, group, at, 'MKSTREAM'));
      return true;
    } catch (error) {
      if (replyWord(error) === 'BUSYGROUP') return false;
      throw error;
    }
  }
}

async function destroyGroup(client: Redis, key: string, group: string): Promise<number> {
  // XGROUP DESTROY of a missing stream is an error without a code word of its own
  if ((await readGroups(client, key)).every(({ name }) => name !== group)) return 0;
  return Number(await client.xgroup('DESTROY', key, group));
}

/**
 * Everything at or below is acknowledged. What was delivered is read before what is pending: an entry delivered in between
 * then lies above both.
 */
async function acknowledgedOf(client: Redis, key: string, group: GroupReply): Promise<string> {
  const lowest = await readLowestPending(client, key, group.name);
  if (lowest === null) return group.lastDelivered;
  return lowerPosition(positionBefore(lowest), group.lastDelivered);
}

/** First entry that a group still needs: what trimming must not pass. */
export async function neededFrom(client: Redis, key: string, group: GroupReply): Promise<string> {
  return positionAfter(await acknowledgedOf(client, key, group));
}

interface Waiting {
  acknowledged: string;
  /** every entry was handed out */
  isDelivered: boolean;
  lagMs: number;
}

async function waitingOf(
  client: Redis,
  key: string,
  group: GroupReply,
  oldestWaiting: OldestWaiting,
): Promise<Waiting> {
  const [lowestPending, nextId, nowMs] = await Promise.all([
    readLowestPending(client, key, group.name),
    readNextId(client, key, group.lastDelivered),
    readServerMs(client),
  ]);
  const oldest =
    lowestPending === null || nextId === null
      ? (lowestPending ?? nextId)
      : lowerPosition(lowestPending, nextId);
  const takenMs = oldest === null ? nowMs : await takenAt(client, key, oldest, nowMs);
  const acknowledged =
    lowestPending === null
      ? group.lastDelivered
      : lowerPosition(positionBefore(lowestPending), group.lastDelivered);
  return {
    acknowledged,
    isDelivered: nextId === null,
    lagMs: oldestWaiting.ageMs(`${key} ${group.name}`, oldest, takenMs, nowMs),
  };
}

/** When an entry was added, ms by the server's clock; now, when its id is no time. */
async function takenAt(client: Redis, key: string, position: string, nowMs: number): Promise<number> {
  const claimedMs = positionMs(position);
  if (isCredible(claimedMs, nowMs)) return claimedMs;
  if (claimedMs > nowMs || nowMs - claimedMs > BACKLOG_MS_MAX) return nowMs;
  // ids rise: where the newest one is the time of now, one of some days ago is a backlog and no invention
  const newest = await readLastGenerated(client, key);
  return newest !== null && isCredible(positionMs(newest), nowMs) ? claimedMs : nowMs;
}

/** Null when the group was dropped meanwhile. */
async function describe(
  client: Redis,
  stream: Stream,
  group: GroupReply,
  oldestWaiting: OldestWaiting,
): Promise<GroupInfo | null> {
  try {
    const [waiting, everyone] = await Promise.all([
      waitingOf(client, stream.key, group, oldestWaiting),
      readConsumers(client, stream.key, group.name),
    ]);
    const consumers = everyone.filter(({ name }) => name !== GIVEN_BACK);
    const idles = consumers.map(({ idleMs }) => idleMs);
    return {
      topic: stream.topic,
      group: group.name,
      partition: stream.partition,
      pending: group.pending,
      lag: waiting.isDelivered ? 0 : group.lag === null ? null : Math.max(1, group.lag),
      lagMs: waiting.lagMs,
      idleMs: idles.length === 0 ? null : Math.min(...idles),
      members: idles.filter((idleMs) => idleMs < MEMBER_MS).length,
      acknowledged: waiting.acknowledged === BEGINNING ? null : waiting.acknowledged,
    };
  } catch (error) {
    if (isGroupMissing(error)) return null;
    throw error;
  }
}
