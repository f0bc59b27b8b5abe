import { escapeLiteral, type Client } from 'pg';
import { ByteSink } from '../../core/copy/sink.ts';
import {
  ANSWER_BYTES_MAX,
  beginRows,
  READ_BYTES,
  readRecords,
  RECORD_COLUMNS,
  RECORD_FIELDS,
  recordAt,
  type StoredRecord,
} from './log.ts';
import { copyOut } from '../postgres/copy-out.ts';
import { prepared } from '../postgres/pooler.ts';

/** Raised when another process joined under a member's name, and when a group does not exist (schema/003). */
export const SQLSTATE_NO_GROUP = 'MDB02';

export interface MemberName {
  topic: string;
  group: string;
  member: string;
}

/** One incarnation of a member. */
export interface MemberSession extends MemberName {
  session: bigint;
  takeoverMs: number;
}

/**
 * Creates what the group lacks of `logs` (column partition): each after its checkpoint (the last acknowledged offset), else
 * at the beginning.
 */
export async function makeGroup(
  client: Client,
  { topic, group }: { topic: string; group: string },
  logs: readonly number[],
  readCheckpoint: (log: number) => Promise<bigint | null>,
): Promise<void> {
  const { rows } = await client.query<{ partition: number }>(
    `SELECT p AS partition FROM unnest($3::int[]) AS p WHERE NOT EXISTS (
       SELECT FROM bus_cursors c WHERE c.topic = $1 AND c.group_name = $2 AND c.partition = p) ORDER BY p`,
    [topic, group, logs],
  );
  if (rows.length === 0) return;
  const missing = rows.map(({ partition }) => partition);
  const checkpoints = await Promise.all(missing.map((partition) => readCheckpoint(partition)));
  await client.query('SELECT bus_make_group($1, $2, $3, $4)', [
    topic,
    group,
    missing,
    checkpoints.map((checkpoint) => checkpoint?.toString() ?? null),
  ]);
}

export async function joinGroup(client: Client, name: MemberName, takeoverMs: number): Promise<bigint> {
  const { rows } = await client.query<{ session: string }>('SELECT bus_join($1, $2, $3, $4) AS session', [
    name.topic,
    name.group,
    name.member,
    Math.round(takeoverMs),
  ]);
  return BigInt(rows[0].session);
}

export async function renewMember(client: Client, member: MemberSession): Promise<void> {
  await client.query('SELECT bus_renew($1, $2, $3, $4, $5)', [
    member.topic,
    member.group,
    member.member,
    member.session.toString(),
    Math.round(member.takeoverMs),
  ]);
}

/** Claimed records that were not read yet, or only in part: offsets, both included. */
export interface TakenRange {
  partition: number;
  from: bigint;
  to: bigint;
  attempts: number;
}

export interface TakenRecord {
  partition: number;
  offset: bigint;
  attempts: number;
  /** null: the log has lost it */
  record: StoredRecord | null;
}

/** What was claimed: records, and ranges left out because the records before them are so large. */
export interface Taken {
  records: TakenRecord[];
  unread: TakenRange[];
}

export interface TakeOptions {
  limit: number;
  /** number of this call, rising, and of the last one whose answer arrived: records of a lost answer are delivered again */
  call: number;
  seen: number;
  /** look for what the member had before, and for what others left behind */
  own: boolean;
  left: boolean;
}

/**
 * Claims records for a member and reads them, in one round trip; the group is locked while they are handed out, not
 * while they are read. Claims need not survive a server crash (the records are delivered again then), so the commit
 * does not wait for the disk.
 */
export async function takeRecords(
  client: Client,
  member: MemberSession,
  { limit, call, seen, own, left }: TakeOptions,
): Promise<Taken> {
  const [topic, group, name] = [member.topic, member.group, member.member].map(escapeLiteral);
  const sink = new ByteSink();
  // a claim without records is a row without one
  await copyOut(
    client,
    `BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = off;
     SELECT bus_take(${topic}, ${group}, ${name}, ${member.session}, ${seen}, ${call}, ${limit},
       ${Math.round(member.takeoverMs)}, ${own}, ${left});
     COMMIT;
     COPY (SELECT c.partition::bigint, c.first_offset, c.last_offset, c.attempts::bigint, ${RECORD_COLUMNS}
       FROM (SELECT * FROM bus_claims WHERE topic = ${topic} AND group_name = ${group} AND member = ${name}
               AND session = ${member.session} AND call = ${call} ORDER BY partition, first_offset) c
       LEFT JOIN LATERAL bus_read(${topic}, c.partition, c.first_offset, c.last_offset,
         c.last_offset - c.first_offset + 1, ${READ_BYTES}) r ON true) TO STDOUT (FORMAT binary)`,
    [sink],
    ANSWER_BYTES_MAX,
  );
  const taken: Taken = { records: [], unread: [] };
  let range: TakenRange | null = null;
  let records: StoredRecord[] = [];
  const finish = (): void => {
    if (range !== null) addRange(taken, range, records, bytesOf(records) >= READ_BYTES);
  };
  const rows = beginRows(sink, RECORD_AT + RECORD_FIELDS);
  while (rows.next()) {
    const partition = Number(rows.int64(0));
    const from = rows.int64(1);
    if (range === null || range.partition !== partition || range.from !== from) {
      finish();
      range = { partition, from, to: rows.int64(2), attempts: Number(rows.int64(3)) };
      records = [];
    }
    if (!rows.isNull(RECORD_AT)) records.push(recordAt(rows, RECORD_AT));
  }
  finish();
  return taken;
}

/** partition, first and last offset and attempts of a claim precede its records */
const RECORD_AT = 4;

/** Continues reading what was claimed and left out. */
export async function readTaken(
  client: Client,
  topic: string,
  range: TakenRange,
  limit: number,
): Promise<Taken> {
  const records = await readRecords(client, topic, range, limit);
  const taken: Taken = { records: [], unread: [] };
  const wanted = Number(range.to - range.from) + 1;
  if (wanted > limit && records.length < limit && bytesOf(records) < READ_BYTES) {
    // some are lost: return what exists of the first `limit` offsets
    const cut = range.from + BigInt(limit) - 1n;
    addRange(
      taken,
      { ...range, to: cut },
      records.filter(({ offset }) => offset <= cut),
      false,
    );
    taken.unread.push({ ...range, from: cut + 1n });
  } else {
    addRange(taken, range, records, records.length === limit || bytesOf(records) >= READ_BYTES);
  }
  return taken;
}

/** `isCut`: records after the last one were not read; otherwise missing ones are lost. */
function addRange(taken: Taken, range: TakenRange, records: StoredRecord[], isCut: boolean): void {
  const { partition, attempts } = range;
  let next = range.from;
  const lostUpTo = (end: bigint): void => {
    for (; next < end; next++) taken.records.push({ partition, attempts, offset: next, record: null });
  };
  for (const record of records) {
    lostUpTo(record.offset);
    taken.records.push({ partition, attempts, offset: record.offset, record });
    next = record.offset + 1n;
  }
  if (!isCut) lostUpTo(range.to + 1n);
  else if (next <= range.to) taken.unread.push({ ...range, from: next });
}

function bytesOf(records: readonly StoredRecord[]): number {
  return records.reduce((sum, { data }) => sum + data.length, 0);
}

export interface OffsetRange {
  partition: number;
  first: bigint;
  last: bigint;
}

export async function acknowledgeRanges(
  client: Client,
  { topic, group }: { topic: string; group: string },
  ranges: readonly OffsetRange[],
): Promise<void> {
  await client.query({
    ...prepared(client, 'bus_acknowledge'),
    text: 'SELECT bus_acknowledge($1, $2, $3, $4, $5)',
    values: [
      topic,
      group,
      ranges.map(({ partition }) => partition),
      ranges.map(({ first }) => first.toString()),
      ranges.map(({ last }) => last.toString()),
    ],
  });
}

export async function leaveGroup(client: Client, member: MemberSession): Promise<void> {
  await client.query('SELECT bus_leave($1, $2, $3, $4)', [
    member.topic,
    member.group,
    member.member,
    member.session.toString(),
  ]);
}

/** A reader that owns a partition no longer needs anything at or below this. */
export async function releaseOffset(
  client: Client,
  { topic, group }: { topic: string; group: string },
  partition: number,
  offset: bigint,
): Promise<void> {
  await client.query({
    ...prepared(client, 'bus_release'),
    text: 'SELECT bus_release($1, $2, $3, $4)',
    values: [topic, group, partition, offset.toString()],
  });
}

export interface GroupStatus {
  group: string;
  partition: number;
  pending: number;
  lag: number;
  lagMs: number;
  idleMs: number | null;
  members: number;
  /** null: there is none */
  acknowledged: bigint | null;
}

/** A line for each group and partition; `group` null: all of the topic. */
export async function groupStatus(
  client: Client,
  topic: string,
  group: string | null,
): Promise<GroupStatus[]> {
  const { rows } = await client.query<{
    group_name: string;
    partition: number;
    pending: string;
    lag: string;
    lag_ms: number;
    idle_ms: number | null;
    members: string;
    acknowledged: string | null;
  }>('SELECT * FROM bus_group_status($1, $2)', [topic, group]);
  return rows.map((row) => ({
    group: row.group_name,
    partition: row.partition,
    pending: Number(row.pending),
    lag: Number(row.lag),
    lagMs: row.lag_ms,
    idleMs: row.idle_ms,
    members: Number(row.members),
    acknowledged: row.acknowledged === null ? null : BigInt(row.acknowledged),
  }));
}

/** What the group has acknowledged of each partition; partitions without any are left out. */
export async function acknowledgedOffsets(
  client: Client,
  topic: string,
  group: string,
): Promise<{ partition: number; offset: bigint }[]> {
  const { rows } = await client.query<{ partition: number; low: string }>(
    `SELECT partition, bus_unacknowledged(topic, group_name, partition) AS low FROM bus_cursors
      WHERE topic = $1 AND group_name = $2`,
    [topic, group],
  );
  return rows
    .filter(({ low }) => low !== '0')
    .map(({ partition, low }) => ({ partition, offset: BigInt(low) - 1n }));
}

export async function dropGroup(client: Client, topic: string, group: string): Promise<boolean> {
  const { rows } = await client.query<{ dropped: boolean }>('SELECT bus_drop_group($1, $2) AS dropped', [
    topic,
    group,
  ]);
  return rows[0].dropped;
}
