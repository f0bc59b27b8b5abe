import type { Client } from 'pg';
import { partitionOf } from '../../core/bus/partitions.ts';
import { acknowledgedOffsets, dropGroup, groupStatus } from '../../store/bus/groups.ts';
import {
  appendRecords,
  durabilitySettings,
  LAST_OFFSET,
  lastOffset,
  readRecords,
  type SegmentLimits,
} from '../../store/bus/log.ts';
import { dropTrimmed, lastOffsets, segmentBytes, topicBytes, trimLog } from '../../store/bus/segments.ts';
import {
  BusError,
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
import { deliveryOf, offsetOf, PostgresSessions, type BusSession } from './sessions.ts';
import { LogScopedCheckpoints } from '../checkpoints.ts';
import { LogAges, type TrimBounds } from '../log-ages.ts';
import { PostgresFollower } from './follower.ts';
import { PostgresInbox } from './inbox.ts';
import { logOf, partitionOfLog } from './logs.ts';
import { PostgresMember } from './member.ts';
import { PostgresPartitionReader } from './partition-reader.ts';

/** A record above this is refused. */
const RECORD_BYTES_MAX = 16 * 2 ** 20;
/** What one append takes; more becomes several. */
const APPEND_RECORDS_MAX = 5000;
const APPEND_BYTES_MAX = 16 * 2 ** 20;
const SEGMENT: SegmentLimits = { rows: 250_000, bytes: 64 * 2 ** 20 };
/** a publisher is judged by a measured size at most this old, ms */
const USAGE_MS = 1000;

export interface PostgresBusOptions extends BusOptions {
  /** postgres://… of a database with schema/003 */
  databaseUrl: string;
  segment?: SegmentLimits;
}

/** The bus in the database itself: no other server is needed, and a publisher may append in the transaction of its own rows. */
export class PostgresBus implements StreamBus {
  readonly kind = 'postgres';
  readonly #options: PostgresBusOptions;
  readonly #sessions: PostgresSessions;
  readonly #publisher: BusSession;
  readonly #tools: BusSession;
  readonly #ages: LogAges;
  #bytes: { value: number; stale: boolean } = { value: 0, stale: true };
  #closed: Promise<void> | null = null;

  constructor(options: PostgresBusOptions) {
    // the log and the checkpoints are in one database: they come and go together
    const checkpoints = new LogScopedCheckpoints(options.checkpoints, () => this.logName());
    this.#options = { ...options, checkpoints };
    this.#sessions = new PostgresSessions(options.databaseUrl, this.#options);
    this.#publisher = this.#sessions.open('publish');
    this.#tools = this.#sessions.open('tools');
    this.#ages = new LogAges({
      ends: (topic) => this.#ends(topic),
      compare: (a, b) => this.compare(a, b),
      logName: () => this.logName(),
      store: options.ends,
      clock: options.env.clock,
    });
  }

  partitions(topic: string): number {
    return this.#sessions.partitions(topic);
  }

  async publish(topic: string, records: readonly OutgoingRecord[]): Promise<string[]> {
    refuseTooLarge(records);
    if (records.length === 0) return [];
    await this.#assertCapacity();
    const positions: string[] = [];
    for (const part of partsOf(records)) {
      positions.push(...(await this.#publisher.run((client) => this.publishWithin(client, topic, part))));
    }
    return positions;
  }

  /**
   * Publishes in a transaction of the caller's own (READ COMMITTED) and resolves with the positions that its commit makes
   * true. The partitions stay locked until then, so do it last; several topics in ascending order of their names. Unlike
   * publish() it looks neither at bus.max_bytes nor at the size of a batch, and rejects with the server's errors.
   */
  async publishWithin(client: Client, topic: string, records: readonly OutgoingRecord[]): Promise<string[]> {
    if (records.length === 0) return [];
    const partitions = this.partitions(topic);
    const offsets = await appendRecords(
      client,
      topic,
      records.map((record) => ({
        ...record,
        partition: logOf(partitionOf(record.key, partitions), partitions),
      })),
      this.#segment,
    );
    return offsets.map(String);
  }

  join(options: GroupOptions): Promise<GroupMember> {
    return PostgresMember.join(this.#sessions, options);
  }

  openPartition(
    options: Omit<GroupOptions, 'takeoverMs'> & { partition: number; after: string | null },
  ): Promise<PartitionReader> {
    return PostgresPartitionReader.open(this.#sessions, options);
  }

  hasInbox(topic: string): boolean {
    return this.partitions(topic) > 1;
  }

  openInbox(topic: string, member: string): Promise<TopicInbox> {
    if (!this.hasInbox(topic)) return Promise.reject(new BusError('setup', `${topic} has no inbox`));
    return PostgresInbox.open(this.#sessions, topic, member, this.#segment);
  }

  async follow(topic: string, partition: number, after: string | null): Promise<BusFollower> {
    return new PostgresFollower(this.#sessions, topic, partition, after);
  }

  async read(topic: string, partition: number, after: string | null, limit: number): Promise<Delivery[]> {
    const from = after === null ? 0n : offsetOf(after) + 1n;
    const log = this.#logOf(topic, partition);
    const records = await this.#tools.run((client) =>
      readRecords(client, topic, { partition: log, from, to: LAST_OFFSET }, limit),
    );
    return records.map((record) => deliveryOf(topic, partition, record, 1));
  }

  async tail(topic: string, partition: number, limit: number): Promise<Delivery[]> {
    const end = await this.end(topic, partition);
    if (end === null) return [];
    const after = offsetOf(end) - BigInt(limit);
    return this.read(topic, partition, after < 0n ? null : after.toString(), limit);
  }

  async end(topic: string, partition: number): Promise<string | null> {
    const log = this.#logOf(topic, partition);
    const offset = await this.#tools.run((client) => lastOffset(client, topic, log));
    return offset?.toString() ?? null;
  }

  /** The same for all logs: the checkpoints are lost together with the log. */
  logName(): Promise<string> {
    return Promise.resolve('postgres');
  }

  compare(a: string, b: string): number {
    const difference = offsetOf(a) - offsetOf(b);
    return difference < 0n ? -1 : difference > 0n ? 1 : 0;
  }

  async groups(topic: string): Promise<GroupInfo[]> {
    const lines = await this.#tools.run((client) => groupStatus(client, topic, null));
    const partitions = this.partitions(topic);
    return lines.map((line) => ({
      ...line,
      topic,
      partition: partitionOfLog(line.partition, partitions),
      acknowledged: line.acknowledged?.toString() ?? null,
    }));
  }

  async dropGroup(topic: string, group: string): Promise<boolean> {
    const offsets = await this.#tools.run((client) => acknowledgedOffsets(client, topic, group));
    const partitions = this.partitions(topic);
    for (const { partition: log, offset } of offsets) {
      const partition = partitionOfLog(log, partitions);
      await this.#options.checkpoints.write(topic, group, partition, offset.toString());
    }
    return this.#tools.run((client) => dropGroup(client, topic, group));
  }

  async trim(topic: string, policy: TrimPolicy): Promise<number> {
    return this.#trim(topic, await this.#ages.bounds(topic, policy));
  }

  async remove(topic: string, partition: number, upTo: string): Promise<number> {
    return this.#trim(topic, new Map([[partition, { acknowledged: upTo, unclaimed: upTo }]]));
  }

  async usage(): Promise<BusUsage> {
    const { bytes, topics } = await this.#tools.run(async (client) => ({
      bytes: await segmentBytes(client),
      topics: await topicBytes(client),
    }));
    this.#bytes = { value: bytes, stale: false };
    setTimeout(() => (this.#bytes.stale = true), USAGE_MS).unref();
    return { bytes, maxBytes: this.#options.maxBytes, topics };
  }

  async durability(): Promise<Durability> {
    const settings = await this.#tools.run(durabilitySettings);
    const wrong = [
      settings.fsync === 'on' ? null : `fsync = ${settings.fsync}`,
      settings.fullPageWrites === 'on' ? null : `full_page_writes = ${settings.fullPageWrites}`,
    ].filter((setting) => setting !== null);
    if (wrong.length > 0) {
      const why = `the server runs with ${wrong.join(' and ')}: a power loss can cost everything, not only the last records`;
      return { lossFree: false, why };
    }
    const { synchronousCommit } = settings;
    const why = `synchronous_commit = ${synchronousCommit} in every session of the bus, whatever the server's default is`;
    return { lossFree: true, why };
  }

  close(): Promise<void> {
    this.#closed ??= this.#sessions.close();
    return this.#closed;
  }

  get #segment(): SegmentLimits {
    return this.#options.segment ?? SEGMENT;
  }

  #logOf(topic: string, partition: number): number {
    return logOf(partition, this.partitions(topic));
  }

  async #ends(topic: string): Promise<Map<number, string | null>> {
    const ends = await this.#tools.run((client) => lastOffsets(client, topic));
    const partitions = this.partitions(topic);
    return new Map(ends.map(({ log, offset }) => [partitionOfLog(log, partitions), offset.toString()]));
  }

  async #trim(topic: string, bounds: ReadonlyMap<number, TrimBounds>): Promise<number> {
    return this.#tools.run(async (client) => {
      let trimmed = 0;
      for (const [partition, { acknowledged, unclaimed }] of bounds) {
        if (acknowledged === null && unclaimed === null) continue;
        trimmed += await trimLog(client, topic, this.#logOf(topic, partition), {
          acknowledged: acknowledged === null ? null : offsetOf(acknowledged),
          unclaimed: unclaimed === null ? null : offsetOf(unclaimed),
        });
      }
      const { dropped, inUse } = await dropTrimmed(client, topic);
      if (inUse > 0) {
        this.#options.env.log('warn', 'Trimmed segments are being read and will be dropped later', {
          topic,
          inUse,
        });
      }
      if (dropped > 0) this.#bytes.stale = true;
      return trimmed;
    });
  }

  async #assertCapacity(): Promise<void> {
    if (this.#bytes.stale) await this.usage();
    const { value } = this.#bytes;
    const { maxBytes } = this.#options;
    if (value < maxBytes) return;
    throw new BusError('full', `postgres bus: ${value} bytes are there, bus.max_bytes is ${maxBytes}`);
  }
}

function refuseTooLarge(records: readonly OutgoingRecord[]): void {
  const large = records.find(({ data }) => data.length > RECORD_BYTES_MAX);
  if (large === undefined) return;
  throw new BusError(
    'refused',
    `postgres bus: a record of ${large.data.length} bytes is above the limit of ${RECORD_BYTES_MAX}`,
  );
}

/** In order, each small enough for one append. */
function partsOf(records: readonly OutgoingRecord[]): OutgoingRecord[][] {
  const parts: OutgoingRecord[][] = [];
  let part: OutgoingRecord[] = [];
  let bytes = 0;
  for (const record of records) {
    if (
      part.length === APPEND_RECORDS_MAX ||
      (bytes + record.data.length > APPEND_BYTES_MAX && part.length > 0)
    ) {
      parts.push(part);
      part = [];
      bytes = 0;
    }
    part.push(record);
    bytes += record.data.length;
  }
  parts.push(part);
  return parts;
}
