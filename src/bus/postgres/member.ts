import { DatabaseError } from 'pg';
import {
  acknowledgedOffsets,
  acknowledgeRanges,
  groupStatus,
  joinGroup,
  leaveGroup,
  readTaken,
  renewMember,
  SQLSTATE_NO_GROUP,
  takeRecords,
  type MemberName,
  type MemberSession,
  type OffsetRange,
  type Taken,
  type TakenRange,
} from '../../store/bus/groups.ts';
import { TAKEOVER_MS, type Delivery, type GroupMember, type GroupOptions } from '../bus.ts';
import { CHECKPOINT_MS } from '../checkpoints.ts';
import { busError } from './errors.ts';
import { logOf, partitionOfLog } from './logs.ts';
import { deliveryOf, offsetOf, type PostgresSessions, type BusSession } from './sessions.ts';

/** a member renews this often within its takeover time, and at least every RENEW_MS_MAX */
const RENEWALS = 5;
const RENEW_MS_MAX = 5000;
/** how often a member looks for what others left behind, ms */
const LEFT_MS_MAX = 1000;

/**
 * A member of a group whose members share all partitions. What it has in flight are ranges in bus_claims. A row in
 * bus_members shows that it lives: a timer renews it, however long the member works on its records.
 */
export class PostgresMember implements GroupMember {
  readonly #sessions: PostgresSessions;
  readonly #session: BusSession;
  readonly #member: MemberSession;
  /** each ends one of its timers */
  readonly #timers: (() => void)[];
  #call = 0;
  /** the last call whose answer arrived */
  #seen = 0;
  /** something may be in flight that next() has not returned since this member joined */
  #own = true;
  /** it is time to look for what others left */
  #left = true;
  #unread: TakenRange[] = [];
  readonly #written = new Map<number, bigint>();

  private constructor(sessions: PostgresSessions, session: BusSession, member: MemberSession) {
    this.#sessions = sessions;
    this.#session = session;
    this.#member = member;
    const { takeoverMs } = member;
    this.#timers = [
      sessions.every(Math.min(takeoverMs / RENEWALS, RENEW_MS_MAX), () => this.#renew()),
      sessions.every(Math.min(takeoverMs / RENEWALS, LEFT_MS_MAX), () => {
        this.#left = true;
      }),
      sessions.every(CHECKPOINT_MS, () => this.#writeCheckpoints()),
    ];
  }

  static async join(sessions: PostgresSessions, options: GroupOptions): Promise<PostgresMember> {
    const name: MemberName = { topic: options.topic, group: options.group, member: options.member };
    const takeoverMs = options.takeoverMs ?? TAKEOVER_MS;
    const session = sessions.open(`${name.group} ${name.member}`);
    try {
      const id = await session.run(async (client) => {
        await sessions.makeGroup(client, name.topic, name.group);
        return joinGroup(client, name, takeoverMs);
      });
      return new PostgresMember(sessions, session, { ...name, session: id, takeoverMs });
    } catch (error) {
      await session.close();
      throw error;
    }
  }

  async next(limit: number, waitMs: number): Promise<Delivery[]> {
    return this.#sessions.waitFor(this.#session, this.#member.topic, waitMs, () => this.#take(limit));
  }

  async acknowledge(deliveries: readonly Delivery[]): Promise<void> {
    if (deliveries.length === 0) return;
    const ranges = rangesOf(deliveries, this.#partitions);
    await this.#session.run((client) => acknowledgeRanges(client, this.#member, ranges));
  }

  async lagMs(): Promise<number> {
    const { topic, group } = this.#member;
    const lines = await this.#session.run((client) => groupStatus(client, topic, group));
    return lines.reduce((most, { lagMs }) => Math.max(most, lagMs), 0);
  }

  async leave(): Promise<void> {
    for (const end of this.#timers) end();
    await this.#writeCheckpoints();
    try {
      await this.#session.run((client) => leaveGroup(client, this.#member));
    } finally {
      await this.#session.close();
    }
  }

  get #partitions(): number {
    return this.#sessions.partitions(this.#member.topic);
  }

  async #take(limit: number): Promise<Delivery[]> {
    const { topic } = this.#member;
    const unread = this.#unread.shift();
    const taken =
      unread === undefined
        ? await this.#takeNew(limit)
        : await this.#session
            .run((client) => readTaken(client, topic, unread, limit))
            .catch((error: unknown) => {
              this.#unread.unshift(unread);
              throw error;
            });
    this.#unread.unshift(...taken.unread);
    const partitions = this.#partitions;
    return taken.records.map(({ partition: log, offset, attempts, record }) => {
      const partition = partitionOfLog(log, partitions);
      return record === null
        ? lostDelivery(topic, partition, offset, attempts)
        : deliveryOf(topic, partition, record, attempts);
    });
  }

  async #takeNew(limit: number): Promise<Taken> {
    const call = ++this.#call;
    const own = this.#own;
    const left = this.#left;
    // an answer that was lost may have contained records
    this.#own = true;
    const taken = await this.#session.run(async (client) => {
      const options = { limit, call, seen: this.#seen, own, left };
      try {
        return await takeRecords(client, this.#member, options);
      } catch (error) {
        if (!(error instanceof DatabaseError) || error.code !== SQLSTATE_NO_GROUP) throw error;
        const { topic, group } = this.#member;
        this.#sessions.options.env.log('warn', 'The group was dropped: it is made again', { topic, group });
        await client.query('ROLLBACK');
        await this.#sessions.makeGroup(client, topic, group);
        return takeRecords(client, this.#member, options);
      }
    });
    this.#seen = call;
    // an answer has either records that were handed out before or, when there are none of these, new ones
    const wereKnown = [...taken.records, ...taken.unread].some(({ attempts }) => attempts > 1);
    this.#own = own && wereKnown;
    if (!wereKnown) this.#left = false;
    return taken;
  }

  async #renew(): Promise<void> {
    // the member's next call reports what is wrong
    await this.#session.run((client) => renewMember(client, this.#member)).catch(() => {});
  }

  /** Writes how far the group is, in case it is dropped and made again. */
  async #writeCheckpoints(): Promise<void> {
    const { topic, group } = this.#member;
    const { checkpoints, env } = this.#sessions.options;
    try {
      const offsets = await this.#session.run((client) => acknowledgedOffsets(client, topic, group));
      for (const { partition: log, offset } of offsets) {
        const partition = partitionOfLog(log, this.#partitions);
        if (this.#written.get(partition) === offset) continue;
        await checkpoints.write(topic, group, partition, offset.toString());
        this.#written.set(partition, offset);
      }
    } catch (error) {
      const { message } = busError(error);
      env.log('warn', 'The mark of a group could not be written', { topic, group, reason: message });
    }
  }
}

function lostDelivery(topic: string, partition: number, offset: bigint, attempts: number): Delivery {
  return {
    topic,
    partition,
    position: offset.toString(),
    takenMs: 0,
    key: null,
    eventId: null,
    encoding: 'json',
    data: null,
    attempts,
  };
}

/** As few ranges of the logs as possible. */
function rangesOf(deliveries: readonly Delivery[], partitions: number): OffsetRange[] {
  const sorted = deliveries
    .map(({ partition, position }) => ({
      partition: logOf(partition, partitions),
      offset: offsetOf(position),
    }))
    .sort((a, b) => a.partition - b.partition || (a.offset < b.offset ? -1 : 1));
  const ranges: OffsetRange[] = [];
  for (const { partition, offset } of sorted) {
    const last = ranges.at(-1);
    if (last !== undefined && last.partition === partition && offset <= last.last + 1n) last.last = offset;
    else ranges.push({ partition, first: offset, last: offset });
  }
  return ranges;
}
