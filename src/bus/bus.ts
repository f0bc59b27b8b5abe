import type { Env } from '../core/env.ts';

/**
 * The stream bus: one contract with three implementations, in redis/, kafka/ and postgres/; test/conformance/suite.ts
 * runs the same cases against each.
 *
 * Promised: at least once, and in order per key as long as one publisher publishes a key. A record is acknowledged by
 * position once its effects are committed; until then it is delivered again, to its member or to the one that takes over.
 * Nothing that a group still needs is ever trimmed, evicted or dropped: a full bus makes publishers wait.
 */

export type BusKind = 'redis' | 'kafka' | 'postgres';

export type Encoding = 'json' | 'msgpack';

/** A record on its way to the bus. */
export interface OutgoingRecord {
  /** the symbol: chooses the partition (core/bus/partitions.ts); records of one key keep their order */
  key: string;
  /** derived from the content, so that a record sent twice can be recognised */
  eventId: string | null;
  data: Uint8Array;
  encoding: Encoding;
}

/** A record as the bus hands it out. */
export interface Delivery {
  topic: string;
  /** 0 … partitions − 1; INBOX */
  partition: number;
  /** the bus's own id in its partition (msg_id): `1755945303178-0` on redis, a decimal offset on kafka and postgres */
  position: string;
  /** when the bus took it, ms since 1970 by the bus's clock; by ours when that is not credible (core/bus/taken.ts) */
  takenMs: number;
  key: string | null;
  eventId: string | null;
  encoding: Encoding;
  /** null: the bus lost the body (redis: deleted while pending). There is nothing to store */
  data: Uint8Array | null;
  /** how often it was handed out to members of the group, this time included; 1 outside groups */
  attempts: number;
}

/** What a failure means for the operator; decided by error codes, never by text. */
export type BusErrorKind =
  /** passes by itself: connection, restart, election, loading */
  | 'unreachable'
  /** out of memory or disk: publishers wait, nothing is lost */
  | 'full'
  /** this record can never be taken (too large) */
  | 'refused'
  /** wrong password, evicting maxmemory-policy, no such database: waiting does not help */
  | 'setup';

export class BusError extends Error {
  override name = 'BusError';
  readonly kind: BusErrorKind;

  constructor(kind: BusErrorKind, message: string, cause?: unknown) {
    super(message, { cause });
    this.kind = kind;
  }
}

/** How much of what was published a crash can lose; logged at start and shown by `mdp stream groups`. */
export interface Durability {
  /** true: what publish() resolved for survives a power loss */
  lossFree: boolean;
  /** one sentence that names the deciding setting */
  why: string;
}

/** Of GroupOptions, where nothing is configured. */
export const TAKEOVER_MS = 30_000;

export interface GroupOptions {
  topic: string;
  group: string;
  /** unique among living members of the group; a restarted member may take its old name */
  member: string;
  /** a member silent for this long is dead: its entries are taken over, ms (default TAKEOVER_MS) */
  takeoverMs?: number;
}

/**
 * A member of a group whose members share all partitions freely (the tick consumer). Pull only: what is not asked for
 * stays on the bus, which is the back-pressure. One caller at a time for next(); acknowledge() may run beside it.
 */
export interface GroupMember {
  /**
   * Up to `limit` records: first what this member had in flight before a restart, then what a dead member left, then new
   * ones. Waits at most `waitMs` for the first one; [] when none came. What it returned stays this member's as long as it
   * lives, however slow it is. Rejects with BusError; the member reconnects by itself and may be called again.
   */
  next(limit: number, waitMs: number): Promise<Delivery[]>;
  /** Resolves when the bus has recorded it. Idempotent. What is never acknowledged is delivered again. */
  acknowledge(deliveries: readonly Delivery[]): Promise<void>;
  /** Age of the oldest entry of the group not yet acknowledged, ms by the bus's clock; 0 when there is none. */
  lagMs(): Promise<number>;
  /** Gives back what is in flight, so that others need not wait for the takeover, and disconnects. */
  leave(): Promise<void>;
}

/**
 * One partition in its order from a position, for a role that owns it. Who owns it is decided by a lease in Postgres
 * (src/bus/ownership.ts), and its position is stored in the role's own transaction: this only reads.
 */
export interface PartitionReader {
  /** Up to `limit` records after the last one returned, in order, without holes. [] after `waitMs` without one. */
  next(limit: number, waitMs: number): Promise<Delivery[]>;
  /**
   * As of when the bus said that nothing follows the last record returned, ms by the monotonic clock; -Infinity: it never did. [] alone
   * does not say so: the bus may not have answered, and what was asked before this program stood still is an old answer.
   */
  readonly emptyAsOfMs: number;
  /** The group needs nothing at or below this any more: trimming may pass it, and tools show it as acknowledged. */
  release(position: string): Promise<void>;
  close(): Promise<void>;
}

/**
 * What was to be read next was trimmed before it was read, or the log was made anew, so that the position means nothing. The
 * next call of the follower goes on with what there is.
 */
export class TrimmedError extends Error {
  override name = 'TrimmedError';
  /** the first record that there is; null: none is there now */
  readonly first: string | null;

  constructor(topic: string, partition: number, first: string | null) {
    super(`${topic} ${partition}: records were trimmed before they were read; ${first ?? 'nothing'} is left`);
    this.first = first;
  }
}

/** One partition in its order from a position, for a role without a group (the live path, tail): nothing is kept for it. */
export interface BusFollower {
  /**
   * Up to `limit` records after the last one returned. Waits at most `waitMs` for the first one; [] when none came. Rejects
   * with TrimmedError, once for each loss, and with BusError: it may then be called again. One caller at a time.
   */
  next(limit: number, waitMs: number): Promise<Delivery[]>;
  close(): Promise<void>;
}

/**
 * A topic's own name while its records are in several partitions, on redis (the stream) and postgres (what bus_publish()
 * writes): seeds and foreign programs write there. Its records are moved to their partitions in order
 * (src/stream/inbox.ts), and no other group reads it.
 */
export interface TopicInbox {
  /** Up to `limit` records, in order, after those that were moved before it was opened. [] after `waitMs` without one. */
  next(limit: number, waitMs: number): Promise<Delivery[]>;
  /**
   * Publishes these, at least one, to their partitions and marks everything up to `position` as moved: both or neither, so
   * that nobody moves a record twice. False: somebody else moved records meanwhile, or an earlier call whose answer was lost
   * did; to go on, open another one. Rejects with BusError; the same call may then be repeated.
   */
  move(position: string, records: readonly OutgoingRecord[]): Promise<boolean>;
  close(): Promise<void>;
}

/** The group that moves the records of inboxes, and the partition under which it is shown. */
export const INBOX_GROUP = 'mdp-inbox';
export const INBOX = -1;

export interface GroupInfo {
  topic: string;
  group: string;
  /** INBOX: the topic's inbox */
  partition: number;
  /** records handed out and not acknowledged */
  pending: number;
  /** records not yet handed out; null: the bus cannot say */
  lag: number | null;
  /** age of the oldest record not acknowledged, ms; 0 when there is none */
  lagMs: number;
  /** since a member of the group was seen, ms; null: unknown */
  idleMs: number | null;
  members: number;
  /** everything at or below is acknowledged; null: nothing is */
  acknowledged: string | null;
}

/** Ages are by our clock, from when a record was first seen on the bus (src/bus/log-ages.ts). */
export interface TrimPolicy {
  /** records that every group acknowledged are kept for this long, ms */
  acknowledgedMs: number;
  /** records of a topic without groups are kept for this long, ms */
  retentionMs: number;
  /**
   * true: ages go on counting through restarts, in BusOptions.ends. Otherwise nothing goes before this process has itself
   * seen it for so long: a group whose role has never run yet then has that time to start
   */
  outlivesProcess?: boolean;
}

export interface BusUsage {
  bytes: number;
  /** what the bus may hold: bus.max_bytes, or less when the server itself has less (redis: maxmemory) */
  maxBytes: number;
  /** about what each topic has of it; topics that are empty may be left out */
  topics: ReadonlyMap<string, number>;
}

export interface StreamBus {
  readonly kind: BusKind;

  /** Partitions of a topic, as configured. */
  partitions(topic: string): number;

  /**
   * Appends in order; resolves with the positions when all are as durable as the bus can promise. Rejects with
   * BusError: then any of them may or may not be there, and sending them again makes duplicates with equal eventId.
   */
  publish(topic: string, records: readonly OutgoingRecord[]): Promise<string[]>;

  /** Creates the group at the beginning of the topic when it is new. Rejects with BusError. */
  join(options: GroupOptions): Promise<GroupMember>;

  /** `after` null: from the first record that is there. Creates the group as join() does. */
  openPartition(
    options: Omit<GroupOptions, 'takeoverMs'> & { partition: number; after: string | null },
  ): Promise<PartitionReader>;

  /** Whether the topic's own name is an inbox: its records are in several partitions (kafka needs none). */
  hasInbox(topic: string): boolean;

  /** For the one process that has its lease; others do no harm. Rejects with BusError. @param member shown by the server */
  openInbox(topic: string, member: string): Promise<TopicInbox>;

  /**
   * Follows a partition on a connection of its own, without any group. `after` null: from the first record that is there. Whether
   * something behind `after` was trimmed is known on Kafka, Postgres and Redis 7.0 and later.
   */
  follow(topic: string, partition: number, after: string | null): Promise<BusFollower>;

  /** Records after a position without any group; null: from the beginning. What was trimmed is left out in silence. */
  read(topic: string, partition: number, after: string | null, limit: number): Promise<Delivery[]>;

  /** The newest `limit` records, the oldest of them first. */
  tail(topic: string, partition: number, limit: number): Promise<Delivery[]>;

  /** Position of the newest record; null when there never was one. */
  end(topic: string, partition: number): Promise<string | null>;

  /** Unique name of the topic's log: positions mean nothing in a log that was made anew. Rejects with BusError. */
  logName(topic: string): Promise<string>;

  /** Order of two positions of one partition: negative, 0, positive. */
  compare(a: string, b: string): number;

  groups(topic: string): Promise<GroupInfo[]>;

  /**
   * False when there is no group of this name. Its checkpoints stay: a group that is joined again goes on from there. To
   * forget it for good, drop those as well (GroupCheckpoints.drop).
   */
  dropGroup(topic: string, group: string): Promise<boolean>;

  /** Removes what the policy allows, never what a group has not acknowledged. Returns how many (an estimate on kafka). */
  trim(topic: string, policy: TrimPolicy): Promise<number>;

  /** Removes what lies at or below a position, however young, but never what a group has not acknowledged. Returns how many. */
  remove(topic: string, partition: number, upTo: string): Promise<number>;

  usage(): Promise<BusUsage>;

  durability(): Promise<Durability>;

  close(): Promise<void>;
}

/** What every implementation is given. */
export interface BusOptions {
  /** partitions of each topic; a topic that is not named has 1 */
  partitions: Readonly<Record<string, number>>;
  /** bytes that the bus may hold */
  maxBytes: number;
  /** shown to the server's operators (CLIENT LIST, client.id, application_name) */
  clientName: string;
  /** where a group that vanished from the bus is created again */
  checkpoints: GroupCheckpoints;
  /** ages that outlive this process; absent: none do */
  ends?: LogEnds;
  env: Env;
}

/** Where logs ended at which time; in Postgres (src/store/bus/log-ends.ts) for every kind of bus. */
export interface LogEnds {
  /**
   * Notes where a partition ends now, unless that was done less than spacingMs ago. Resolves with what is noted of this log,
   * the oldest first, with ages by the database's clock; of ends older than ageMs the newest one is kept.
   */
  note(
    topic: string,
    log: string,
    partition: number,
    position: string,
    limits: { ageMs: number; spacingMs: number },
  ): Promise<readonly { position: string; ageMs: number }[]>;
  forget(topic: string, partition: number): Promise<void>;
}

/** How far groups have acknowledged; in Postgres (src/store/bus/checkpoints.ts) for every kind of bus. */
export interface GroupCheckpoints {
  /** everything at or below was acknowledged; null: never written */
  read(topic: string, group: string, partition: number): Promise<string | null>;
  /** May lag by some seconds: records in between are delivered again. */
  write(topic: string, group: string, partition: number, position: string): Promise<void>;
  /**
   * Counts how often work on a partition began at this position, this time included (kafka has no count of deliveries
   * of its own: a record that kills its consumer shows by this).
   */
  starting(topic: string, group: string, partition: number, position: string): Promise<number>;
  drop(topic: string, group: string): Promise<void>;
}
