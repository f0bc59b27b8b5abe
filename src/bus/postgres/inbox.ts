import { partitionOf } from '../../core/bus/partitions.ts';
import { cursorOf, moveRecords, type InboxPlace } from '../../store/bus/inbox.ts';
import { LAST_OFFSET, readRecords, type SegmentLimits } from '../../store/bus/log.ts';
import { INBOX, INBOX_GROUP, type Delivery, type OutgoingRecord, type TopicInbox } from '../bus.ts';
import { INBOX_LOG, logOf } from './logs.ts';
import { deliveryOf, offsetOf, type BusSession, type PostgresSessions } from './sessions.ts';

/**
 * The log that bus_publish() writes. A move is one transaction that first takes the cursor on, from where it is expected to
 * be: of two processes that move the same records one moves nothing, whoever believes to have the lease.
 */
export class PostgresInbox implements TopicInbox {
  readonly #sessions: PostgresSessions;
  readonly #topic: string;
  readonly #segment: SegmentLimits;
  readonly #reader: BusSession;
  readonly #mover: BusSession;
  /** the first offsets that are not moved, and not read */
  #moved: bigint;
  #next: bigint;

  private constructor(
    sessions: PostgresSessions,
    topic: string,
    segment: SegmentLimits,
    parts: { reader: BusSession; mover: BusSession; moved: bigint },
  ) {
    this.#sessions = sessions;
    this.#topic = topic;
    this.#segment = segment;
    this.#reader = parts.reader;
    this.#mover = parts.mover;
    this.#moved = parts.moved;
    this.#next = parts.moved;
  }

  static async open(
    sessions: PostgresSessions,
    topic: string,
    member: string,
    segment: SegmentLimits,
  ): Promise<PostgresInbox> {
    const reader = sessions.open(`${INBOX_GROUP} ${member}`);
    try {
      const moved = await reader.run(async (client) => {
        await sessions.makeGroup(client, topic, INBOX_GROUP, [INBOX_LOG]);
        return cursorOf(client, placeOf(topic));
      });
      const mover = sessions.open(`${INBOX_GROUP} ${member} moves`);
      return new PostgresInbox(sessions, topic, segment, { reader, mover, moved });
    } catch (error) {
      await reader.close();
      throw error;
    }
  }

  async next(limit: number, waitMs: number): Promise<Delivery[]> {
    const topic = this.#topic;
    return this.#sessions.waitFor(this.#reader, topic, waitMs, async () => {
      const range = { partition: INBOX_LOG, from: this.#next, to: LAST_OFFSET };
      const records = await this.#reader.run((client) => readRecords(client, topic, range, limit));
      const last = records.at(-1);
      if (last !== undefined) this.#next = last.offset + 1n;
      return records.map((record) => deliveryOf(topic, INBOX, record, 1));
    });
  }

  async move(position: string, records: readonly OutgoingRecord[]): Promise<boolean> {
    const topic = this.#topic;
    const partitions = this.#sessions.partitions(topic);
    const placed = records.map((record) => ({
      ...record,
      partition: logOf(partitionOf(record.key, partitions), partitions),
    }));
    const to = offsetOf(position) + 1n;
    const isMoved = await this.#mover.run((client) =>
      moveRecords(client, placeOf(topic), { from: this.#moved, to }, placed, this.#segment),
    );
    if (isMoved) this.#moved = to;
    return isMoved;
  }

  async close(): Promise<void> {
    await Promise.all([this.#reader.close(), this.#mover.close()]);
  }
}

function placeOf(topic: string): InboxPlace {
  return { topic, group: INBOX_GROUP, log: INBOX_LOG };
}
