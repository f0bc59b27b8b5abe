import { releaseOffset } from '../../store/bus/groups.ts';
import { LAST_OFFSET, lastOffset, readRecords } from '../../store/bus/log.ts';
import type { Delivery, GroupOptions, PartitionReader } from '../bus.ts';
import { busError } from './errors.ts';
import { deliveryOf, offsetOf, type PostgresLink, type LinkSession } from './sessions.ts';

/** how far marks lie behind, ms */
const MARK_MS = 2000;

type ReaderOptions = Omit<GroupOptions, 'takeoverMs'> & { partition: number; after: string | null };

/** Plain reads of one partition, one after the other. */
export class PostgresReader implements PartitionReader {
  readonly #link: PostgresLink;
  readonly #session: LinkSession;
  readonly #options: ReaderOptions;
  readonly #endTimer: () => void;
  #next: bigint;
  /** what the next record's offset must be; null: anything, it is the first */
  #expected: bigint | null;
  #released: string | null = null;
  #marked: string | null = null;

  private constructor(
    link: PostgresLink,
    session: LinkSession,
    options: ReaderOptions,
    after: bigint | null,
  ) {
    this.#link = link;
    this.#session = session;
    this.#options = options;
    this.#next = after === null ? 0n : after + 1n;
    this.#expected = after === null ? null : this.#next;
    this.#endTimer = link.every(MARK_MS, () => this.#mark());
  }

  static async open(link: PostgresLink, options: ReaderOptions): Promise<PostgresReader> {
    const { topic, group, partition, member } = options;
    let after = options.after === null ? null : offsetOf(options.after);
    const session = link.session(`${group} ${member} ${partition}`);
    try {
      const end = await session.run(async (client) => {
        await link.makeGroup(client, topic, group);
        return (await lastOffset(client, topic, partition)) ?? -1n;
      });
      if (after !== null && after > end) {
        const fields = { topic, group, partition, position: options.after, end: end.toString() };
        link.options.log(
          'error',
          'The position lies beyond the log, which was made anew: all of it is read',
          fields,
        );
        after = null;
      }
      return new PostgresReader(link, session, options, after);
    } catch (error) {
      await session.close();
      throw error;
    }
  }

  async next(limit: number, waitMs: number): Promise<Delivery[]> {
    const { topic, partition } = this.#options;
    return this.#link.waitFor(this.#session, topic, waitMs, async () => {
      const range = { partition, from: this.#next, to: LAST_OFFSET };
      const records = await this.#session.run((client) => readRecords(client, topic, range, limit));
      for (const { offset } of records) {
        if (this.#expected !== null && offset > this.#expected) this.#sayMissing(this.#expected, offset - 1n);
        this.#expected = offset + 1n;
      }
      this.#next = this.#expected ?? this.#next;
      return records.map((record) => deliveryOf(topic, partition, record, 1));
    });
  }

  async release(position: string): Promise<void> {
    const { partition } = this.#options;
    const offset = offsetOf(position);
    await this.#session.run((client) => releaseOffset(client, this.#options, partition, offset));
    if (this.#released === null || offset > BigInt(this.#released)) this.#released = position;
  }

  async close(): Promise<void> {
    this.#endTimer();
    await this.#mark();
    await this.#session.close();
  }

  #sayMissing(first: bigint, last: bigint): void {
    const { topic, group, partition } = this.#options;
    this.#link.options.log('error', 'Records were removed before they were read: going on behind them', {
      topic,
      group,
      partition,
      first: first.toString(),
      last: last.toString(),
    });
  }

  /** For the day when the group is dropped and made again. */
  async #mark(): Promise<void> {
    const { topic, group, partition } = this.#options;
    const position = this.#released;
    if (position === null || position === this.#marked) return;
    try {
      await this.#link.options.marks.write(topic, group, partition, position);
      this.#marked = position;
    } catch (error) {
      const { message } = busError(error);
      this.#link.options.log('warn', 'The mark of a group could not be written', {
        topic,
        group,
        reason: message,
      });
    }
  }
}
