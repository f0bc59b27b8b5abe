import { releaseOffset } from '../../store/bus/groups.ts';
import { LAST_OFFSET, lastOffset, readRecords } from '../../store/bus/log.ts';
import type { Delivery, GroupOptions, PartitionReader } from '../bus.ts';
import { CHECKPOINT_MS } from '../checkpoints.ts';
import { busError } from './errors.ts';
import { logOf } from './logs.ts';
import { deliveryOf, offsetOf, type PostgresSessions, type BusSession } from './sessions.ts';

type ReaderOptions = Omit<GroupOptions, 'takeoverMs'> & { partition: number; after: string | null };

/** Plain reads of one partition, one after the other. */
export class PostgresPartitionReader implements PartitionReader {
  readonly #sessions: PostgresSessions;
  readonly #session: BusSession;
  readonly #options: ReaderOptions;
  readonly #log: number;
  readonly #endTimer: () => void;
  #next: bigint;
  /** offset that the next record must have; null: any, it is the first */
  #expected: bigint | null;
  #released: string | null = null;
  #written: string | null = null;
  emptyAsOfMs = -Infinity;

  private constructor(
    sessions: PostgresSessions,
    session: BusSession,
    options: ReaderOptions,
    after: bigint | null,
  ) {
    this.#sessions = sessions;
    this.#session = session;
    this.#options = options;
    this.#log = logOf(options.partition, sessions.partitions(options.topic));
    this.#next = after === null ? 0n : after + 1n;
    this.#expected = after === null ? null : this.#next;
    this.#endTimer = sessions.every(CHECKPOINT_MS, () => this.#writeCheckpoints());
  }

  static async open(sessions: PostgresSessions, options: ReaderOptions): Promise<PostgresPartitionReader> {
    const { topic, group, partition, member } = options;
    let after = options.after === null ? null : offsetOf(options.after);
    const session = sessions.open(`${group} ${member} ${partition}`);
    try {
      const end = await session.run(async (client) => {
        await sessions.makeGroup(client, topic, group);
        return (await lastOffset(client, topic, logOf(partition, sessions.partitions(topic)))) ?? -1n;
      });
      if (after !== null && after > end) {
        const fields = { topic, group, partition, position: options.after, end: end.toString() };
        sessions.options.env.log(
          'error',
          'The position lies beyond the log, which was made anew: all of it is read',
          fields,
        );
        after = null;
      }
      return new PostgresPartitionReader(sessions, session, options, after);
    } catch (error) {
      await session.close();
      throw error;
    }
  }

  async next(limit: number, waitMs: number): Promise<Delivery[]> {
    const { topic, partition } = this.#options;
    return this.#sessions.waitFor(this.#session, topic, waitMs, async () => {
      const askedMs = this.#sessions.options.env.clock.monotonicMs();
      const range = { partition: this.#log, from: this.#next, to: LAST_OFFSET };
      const records = await this.#session.run((client) => readRecords(client, topic, range, limit));
      for (const { offset } of records) {
        if (this.#expected !== null && offset > this.#expected) this.#logMissing(this.#expected, offset - 1n);
        this.#expected = offset + 1n;
      }
      this.#next = this.#expected ?? this.#next;
      if (records.length === 0) this.emptyAsOfMs = askedMs;
      return records.map((record) => deliveryOf(topic, partition, record, 1));
    });
  }

  async release(position: string): Promise<void> {
    const offset = offsetOf(position);
    await this.#session.run((client) => releaseOffset(client, this.#options, this.#log, offset));
    if (this.#released === null || offset > BigInt(this.#released)) this.#released = position;
  }

  async close(): Promise<void> {
    this.#endTimer();
    await this.#writeCheckpoints();
    await this.#session.close();
  }

  #logMissing(first: bigint, last: bigint): void {
    const { topic, group, partition } = this.#options;
    this.#sessions.options.env.log(
      'error',
      'Records were removed before they were read: going on behind them',
      {
        topic,
        group,
        partition,
        first: first.toString(),
        last: last.toString(),
      },
    );
  }

  /** In case the group is dropped and made again. */
  async #writeCheckpoints(): Promise<void> {
    const { topic, group, partition } = this.#options;
    const position = this.#released;
    if (position === null || position === this.#written) return;
    try {
      await this.#sessions.options.checkpoints.write(topic, group, partition, position);
      this.#written = position;
    } catch (error) {
      const { message } = busError(error);
      this.#sessions.options.env.log('warn', 'The mark of a group could not be written', {
        topic,
        group,
        reason: message,
      });
    }
  }
}
