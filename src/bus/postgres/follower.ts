import { LAST_OFFSET, logExtent, readRecords, type StoredRecord } from '../../store/bus/log.ts';
import { BusError, TrimmedError, type BusFollower, type Delivery } from '../bus.ts';
import { logOf } from './logs.ts';
import { deliveryOf, offsetOf, type BusSession, type PostgresSessions } from './sessions.ts';

/** Plain reads of one partition without a group. The offsets of a log have no holes: one that is missing was trimmed. */
export class PostgresFollower implements BusFollower {
  readonly #sessions: PostgresSessions;
  readonly #session: BusSession;
  readonly #topic: string;
  readonly #partition: number;
  readonly #log: number;
  /** null: whatever is first */
  #next: bigint | null;
  #isClosed = false;

  constructor(sessions: PostgresSessions, topic: string, partition: number, after: string | null) {
    this.#sessions = sessions;
    this.#topic = topic;
    this.#partition = partition;
    this.#log = logOf(partition, sessions.partitions(topic));
    this.#next = after === null ? null : offsetOf(after) + 1n;
    this.#session = sessions.open(`follower of ${topic} ${partition}`);
  }

  async next(limit: number, waitMs: number): Promise<Delivery[]> {
    if (limit <= 0) return [];
    if (this.#isClosed) throw new BusError('unreachable', 'this follower is closed');
    const records = await this.#sessions.waitFor(this.#session, this.#topic, waitMs, () => this.#look(limit));
    const last = records.at(-1);
    if (last !== undefined) this.#next = last.offset + 1n;
    return records.map((record) => deliveryOf(this.#topic, this.#partition, record, 1));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#session.close();
  }

  async #look(limit: number): Promise<StoredRecord[]> {
    const wanted = this.#next;
    const range = { partition: this.#log, from: wanted ?? 0n, to: LAST_OFFSET };
    const { records, extent } = await this.#session.run(async (client) => {
      const found = await readRecords(client, this.#topic, range, limit);
      return {
        records: found,
        extent: found.length > 0 ? null : await logExtent(client, this.#topic, this.#log),
      };
    });
    if (wanted === null) return records;
    if (records.length > 0) {
      if (records[0].offset === wanted) return records;
      this.#lost(records[0].offset, records[0].offset);
    }
    // nothing was ever there: the position is of another log, unless it is the beginning
    const { first, next } = extent ?? { first: 0n, next: 0n };
    if (wanted > next) this.#lost(first, first < next ? first : null);
    if (wanted < first) this.#lost(first, first < next ? first : null);
    return [];
  }

  #lost(next: bigint, first: bigint | null): never {
    this.#next = next;
    throw new TrimmedError(this.#topic, this.#partition, first?.toString() ?? null);
  }
}
