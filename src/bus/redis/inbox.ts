import type { Clock } from '../../core/time.ts';
import { partitionOf } from '../../core/bus/partitions.ts';
import { INBOX_GROUP, type Delivery, type OutgoingRecord, type TopicInbox } from '../bus.ts';
import { encodeBatch, streamKey } from './entry.ts';
import type { RedisConnection } from './connection.ts';
import { toBusError } from './errors.ts';
import { ANSWER_MS, type RedisGroups, type Stream } from './group/groups.ts';
import { RedisPartitionReader } from './partition-reader.ts';
import { sendTransaction } from './publisher.ts';
import { readLastGenerated } from './replies.ts';
import { BEGINNING, comparePositions } from './stream-id.ts';

/** limit for the answer to a move, ms: as for a publish */
const MOVE_MS = 30_000;

export interface InboxTools {
  connect: (purpose: string) => RedisConnection;
  /** never blocks */
  commands: RedisConnection;
  groups: RedisGroups;
  clock: Clock;
  onClosed: () => void;
}

/**
 * The stream of the topic's own name. Up to where it is moved is stored beside it, and changed only by the transaction that
 * moved the records, which watches it: of two processes that move the same records, one gets a null answer and nothing is
 * published twice, whoever believes to have the lease. The group only shows for trimming and for tools how far it is.
 */
export class RedisInbox implements TopicInbox {
  readonly #stream: Stream;
  readonly #partitions: number;
  readonly #reader: RedisPartitionReader;
  readonly #mover: RedisConnection;
  readonly #onClosed: () => void;
  /** as it is stored; null: nothing was moved yet */
  #moved: string | null;

  private constructor(
    stream: Stream,
    partitions: number,
    moved: string | null,
    parts: { reader: RedisPartitionReader; mover: RedisConnection; onClosed: () => void },
  ) {
    this.#stream = stream;
    this.#partitions = partitions;
    this.#moved = moved;
    this.#reader = parts.reader;
    this.#mover = parts.mover;
    this.#onClosed = parts.onClosed;
  }

  static async open(
    stream: Stream,
    partitions: number,
    member: string,
    tools: InboxTools,
  ): Promise<RedisInbox> {
    const { connect, commands, groups, clock, onClosed } = tools;
    await groups.ensure([stream], INBOX_GROUP);
    const [moved, newest] = await commands.run(ANSWER_MS, (client) =>
      Promise.all([client.get(positionKey(stream)), readLastGenerated(client, stream.key)]),
    );
    // beyond the newest entry: the stream was made anew since
    const isKnown = moved !== null && newest !== null && comparePositions(moved, newest) <= 0;
    const reader = new RedisPartitionReader(
      stream,
      { group: INBOX_GROUP, member, after: isKnown ? moved : BEGINNING },
      { reader: connect(`${INBOX_GROUP}:${member}`), commands, groups, clock, onClosed: () => {} },
    );
    const mover = connect(`${INBOX_GROUP}:${member}:moves`);
    return new RedisInbox(stream, partitions, moved, { reader, mover, onClosed });
  }

  next(limit: number, waitMs: number): Promise<Delivery[]> {
    return this.#reader.next(limit, waitMs);
  }

  async move(position: string, records: readonly OutgoingRecord[]): Promise<boolean> {
    const { topic } = this.#stream;
    const batch = records.map((record) => ({
      key: streamKey(topic, partitionOf(record.key, this.#partitions), this.#partitions),
      record,
    }));
    const key = positionKey(this.#stream);
    try {
      const isMoved = await this.#mover.run(MOVE_MS, async (client) => {
        const [, stored] = await Promise.all([client.watch(key), client.get(key)]);
        if (stored !== this.#moved) {
          await client.unwatch();
          return false;
        }
        const bytes = encodeBatch(batch, { key, value: position });
        return (await sendTransaction(client, bytes, batch.length + 1)) !== null;
      });
      if (!isMoved) return false;
    } catch (error) {
      throw toBusError(error, `inbox of ${topic}`);
    }
    this.#moved = position;
    // a failed release is repeated by the next one
    await this.#reader.release(position).catch(() => {});
    return true;
  }

  async close(): Promise<void> {
    await this.#reader.close();
    this.#mover.close();
    this.#onClosed();
  }

  disconnect(): void {
    this.#reader.disconnect();
    this.#mover.close();
  }
}

function positionKey({ topic }: Stream): string {
  return `${topic}.inbox`;
}
