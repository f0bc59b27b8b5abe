import { escapeLiteral, type Client } from 'pg';
import { byteaArray, int2Array, textArray } from '../../core/copy/types/arrays.ts';
import { CopyRows } from '../../core/copy/rows-out.ts';
import { ByteSink } from '../../core/copy/sink.ts';
import { copyOut } from '../postgres/copy-out.ts';
import { prepared } from '../postgres/pooler.ts';

/** How records of the postgres bus are encoded (column encoding). */
export const ENCODINGS = ['json', 'msgpack'] as const;

/** A record to append; the caller chooses the partition. */
export interface LogRecord {
  partition: number;
  key: string | null;
  eventId: string | null;
  encoding: (typeof ENCODINGS)[number];
  data: Uint8Array;
}

/** A record as stored in its partition. */
export interface StoredRecord {
  offset: bigint;
  /** µs since 1970, by the server's clock */
  takenMicros: bigint;
  key: string | null;
  eventId: string | null;
  encoding: (typeof ENCODINGS)[number];
  /** shares the memory of the records read together */
  data: Uint8Array;
}

/** Maximum size of a segment, unless a single batch is larger. */
export interface SegmentLimits {
  rows: number;
  bytes: number;
}

/** A read ends with the record that reaches this, so a batch's memory is bounded whatever the size of its records. */
export const READ_BYTES = 16 * 2 ** 20;
/** maximum size of one answer: the record that reaches the limit may itself be large */
export const ANSWER_BYTES_MAX = 2 ** 30;

/**
 * Appends in one round trip and returns the offsets, in the order of the records. The records of a partition become
 * visible with the commit, in the order of their offsets. Inside the caller's own transaction (READ COMMITTED): the
 * counters stay locked until it ends, so append last.
 */
export async function appendRecords(
  client: Client,
  topic: string,
  records: readonly LogRecord[],
  limits: SegmentLimits,
): Promise<bigint[]> {
  const { order, counts, values } = appendArguments(records, limits);
  const { rows } = await client.query<{ firsts: string[] }>({
    ...prepared(client, 'bus_append'),
    text: 'SELECT bus_append($1, $2, $3, $4, $5, $6, $7, $8, $9) AS firsts',
    values: [topic, ...values],
  });
  const firsts = rows[0].firsts.map(BigInt);
  const offsets: bigint[] = Array.from({ length: records.length });
  let next = 0;
  for (const [index, first] of firsts.entries()) {
    for (let nth = 0; nth < counts[index]; nth++) {
      offsets[order === null ? next : order[next]] = first + BigInt(nth);
      next += 1;
    }
  }
  return offsets;
}

/** The arguments of bus_append() after the topic, and how the records are ordered in them. */
export function appendArguments(
  records: readonly LogRecord[],
  limits: SegmentLimits,
): Pick<Grouped, 'order' | 'counts'> & { values: unknown[] } {
  const { order, partitions, counts } = byPartition(records);
  const sorted = order === null ? records : order.map((at) => records[at]);
  const values = [
    partitions,
    counts,
    textArray(sorted.map(({ key }) => key)),
    textArray(sorted.map(({ eventId }) => eventId)),
    int2Array(sorted.map(({ encoding }) => ENCODINGS.indexOf(encoding))),
    byteaArray(sorted.map(({ data }) => data)),
    limits.rows,
    limits.bytes,
  ];
  return { order, counts, values };
}

interface Grouped {
  /** the index of each record of the grouped order among the given ones; null: the order is unchanged */
  order: number[] | null;
  /** ascending, as the locks must be taken */
  partitions: number[];
  counts: number[];
}

function byPartition(records: readonly LogRecord[]): Grouped {
  const first = records[0].partition;
  if (records.every(({ partition }) => partition === first)) {
    return { order: null, partitions: [first], counts: [records.length] };
  }
  const groups = new Map<number, number[]>();
  for (const [at, { partition }] of records.entries()) {
    const group = groups.get(partition);
    if (group === undefined) groups.set(partition, [at]);
    else group.push(at);
  }
  const partitions = [...groups.keys()].sort((a, b) => a - b);
  const members = partitions.map((partition) => groups.get(partition) ?? []);
  return { order: members.flat(), partitions, counts: members.map(({ length }) => length) };
}

/** Columns that readRecords() and takeRecords() select. */
export const RECORD_COLUMNS = `r."position", r.taken_us, r.key, r.event_id, r.encoding, r.data`;
export const RECORD_FIELDS = 6;

/** The arguments of bus_read(): offsets, both included. */
export interface ReadRange {
  partition: number;
  from: bigint;
  to: bigint;
}

export const LAST_OFFSET = 2n ** 63n - 1n;

/**
 * Records of a range in order, at most `limit`, and fewer if they are large; trimmed ones are left out. Their bodies
 * arrive as bytes and never as text.
 */
export async function readRecords(
  client: Client,
  topic: string,
  range: ReadRange,
  limit: number,
): Promise<StoredRecord[]> {
  const sink = new ByteSink();
  const call = readCall(escapeLiteral(topic), range, limit);
  await copyOut(
    client,
    `COPY (SELECT ${RECORD_COLUMNS} FROM ${call} r) TO STDOUT (FORMAT binary)`,
    [sink],
    ANSWER_BYTES_MAX,
  );
  const rows = beginRows(sink, RECORD_FIELDS);
  const records: StoredRecord[] = [];
  while (rows.next()) records.push(recordAt(rows, 0));
  return records;
}

function readCall(topic: string, { partition, from, to }: ReadRange, limit: number): string {
  return `bus_read(${topic}, ${partition}, ${from}, ${to}, ${limit}, ${READ_BYTES})`;
}

/** Positioned before the first row of a COPY's output. From here on the bytes belong to the records. */
export function beginRows(sink: ByteSink, fields: number): CopyRows {
  const bytes = sink.release();
  const rows = new CopyRows(fields);
  rows.begin(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  return rows;
}

/** Of the current row, whose RECORD_COLUMNS start with this field. */
export function recordAt(rows: CopyRows, field: number): StoredRecord {
  return {
    offset: rows.int64(field),
    takenMicros: rows.int64(field + 1),
    key: rows.run(field + 2)?.toString() ?? null,
    eventId: rows.run(field + 3)?.toString() ?? null,
    encoding: ENCODINGS[rows.required(field + 4)[1]] ?? 'json',
    data: rows.required(field + 5),
  };
}

/** Offset of the newest record, null if there never was one. */
export async function lastOffset(client: Client, topic: string, partition: number): Promise<bigint | null> {
  const { rows } = await client.query<{ next: string }>(
    'SELECT next_offset AS next FROM bus_logs WHERE topic = $1 AND partition = $2',
    [topic, partition],
  );
  const next = BigInt(rows[0]?.next ?? 0);
  return next === 0n ? null : next - 1n;
}

/** The first offset that is not trimmed, and the one that the next record will have; null: there never was a record. */
export async function logExtent(
  client: Client,
  topic: string,
  partition: number,
): Promise<{ first: bigint; next: bigint } | null> {
  const { rows } = await client.query<{ first: string; next: string }>(
    'SELECT first_offset AS first, next_offset AS next FROM bus_logs WHERE topic = $1 AND partition = $2',
    [topic, partition],
  );
  return rows.length === 0 ? null : { first: BigInt(rows[0].first), next: BigInt(rows[0].next) };
}

/** The server's settings that decide whether a commit survives a crash. */
export async function durabilitySettings(
  client: Client,
): Promise<{ fsync: string; fullPageWrites: string; synchronousCommit: string }> {
  const { rows } = await client.query<{ fsync: string; pages: string; commit: string }>(
    `SELECT current_setting('fsync') AS fsync, current_setting('full_page_writes') AS pages,
            current_setting('synchronous_commit') AS commit`,
  );
  const [{ fsync, pages, commit }] = rows;
  return { fsync, fullPageWrites: pages, synchronousCommit: commit };
}
