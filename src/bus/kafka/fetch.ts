import {
  IS_CONTROL, IS_TRANSACTIONAL,
  type Broker, type fetchV17, type KafkaRecord, type RecordsBatch,
} from '@platformatic/kafka'; // prettier-ignore
import { takenMsOf } from '../../core/bus/taken.ts';
import type { Delivery } from '../bus.ts';
import type { KafkaCluster } from './cluster.ts';
import type { BrokerConnections } from './connections.ts';
import { KafkaCode, kafkaCodes } from './errors.ts';

const PARTITION_BYTES = 1024 * 1024;
const REQUEST_BYTES = 8 * PARTITION_BYTES;
const READ_COMMITTED = 1;
const IS_LOG_APPEND_TIME = 1 << 3;
/** fetch sessions (KIP-227) are not used: every request names all its partitions */
const NO_SESSION = { id: 0, epoch: -1 };
/** versions up to this one name topics, later ones give their ids */
const LAST_VERSION_WITH_NAMES = 12;

export const EVENT_ID_HEADER = 'event_id';
export const ENCODING_HEADER = 'enc';
export const MSGPACK = 'msgpack';

export interface Fetched {
  /** error code of this partition; 0: none */
  code: number;
  deliveries: Delivery[];
  /** the offset to ask for next: after control records and after what compaction or an aborted transaction removed */
  next: number;
  /** bytes and records of the whole batches that came, for an estimate of the size of a record */
  bytes: number;
  records: number;
}

export interface FetchPosition {
  partition: number;
  offset: number;
}

/**
 * One fetch of some partitions that have the same leader. Partitions that failed are among the answers with their code.
 * @throws the client's error when the request itself failed
 */
export async function fetchOnce(
  cluster: KafkaCluster,
  connections: BrokerConnections,
  request: {
    broker: Broker;
    topic: string;
    positions: readonly FetchPosition[];
    waitMs: number;
    partitionBytes?: number;
  },
): Promise<Map<number, Fetched>> {
  const { broker, topic, positions, waitMs } = request;
  const named = (await cluster.version('Fetch')) <= LAST_VERSION_WITH_NAMES;
  const topicId = named ? topic : ((await cluster.metadata(topic)).topics.get(topic)?.id ?? topic);
  const partitions = positions.map(({ partition, offset }) => ({
    partition,
    currentLeaderEpoch: -1,
    fetchOffset: BigInt(offset),
    lastFetchedEpoch: -1,
    partitionMaxBytes: request.partitionBytes ?? PARTITION_BYTES,
  }));
  const answer = await evenWithErrors(
    cluster.send(
      'Fetch', connections, broker, waitMs, 1, REQUEST_BYTES, READ_COMMITTED, NO_SESSION.id, NO_SESSION.epoch,
      [{ topicId, partitions }], [], '',
    ), // prettier-ignore
  );
  const answers = new Map(
    answer.responses.flatMap((response) => response.partitions).map((p) => [p.partitionIndex, p]),
  );
  const fetched = new Map<number, Fetched>();
  for (const { partition, offset } of positions) {
    const found = answers.get(partition);
    if (found !== undefined) fetched.set(partition, decode(topic, offset, found, cluster.nowMs()));
  }
  return fetched;
}

/** The client rejects when one partition of many has an error; its error carries the records of the others. */
async function evenWithErrors(sending: Promise<fetchV17.FetchResponse>): Promise<fetchV17.FetchResponse> {
  try {
    return await sending;
  } catch (error) {
    const response = (error as { response?: fetchV17.FetchResponse }).response;
    if (response === undefined || response.errorCode !== 0 || kafkaCodes(error).size === 0) throw error;
    return response;
  }
}

function decode(
  topic: string,
  from: number,
  answer: fetchV17.FetchResponsePartition,
  nowMs: number,
): Fetched {
  const { partitionIndex: partition, errorCode } = answer;
  const fetched: Fetched = {
    code: errorCode, deliveries: [], next: from, bytes: 0, records: 0,
  }; // prettier-ignore
  if (errorCode !== 0) return fetched;
  const aborted = new AbortedTransactions(answer.abortedTransactions ?? []);
  for (const batch of answer.records ?? []) {
    const first = Number(batch.firstOffset);
    fetched.next = Math.max(fetched.next, first + batch.lastOffsetDelta + 1);
    fetched.bytes += batch.length;
    fetched.records += batch.records.length;
    if (aborted.covers(batch) || (batch.attributes & IS_CONTROL) !== 0) continue;
    for (const record of batch.records) {
      const offset = first + record.offsetDelta;
      if (offset >= from) fetched.deliveries.push(deliveryOf(topic, partition, offset, batch, record, nowMs));
    }
  }
  return fetched;
}

function deliveryOf(
  topic: string,
  partition: number,
  offset: number,
  batch: RecordsBatch,
  { key, value, headers, timestampDelta }: KafkaRecord,
  nowMs: number,
): Delivery {
  // otherwise the producer says when (CreateTime)
  const isBrokersTime = (batch.attributes & IS_LOG_APPEND_TIME) !== 0;
  let eventId: string | null = null;
  let encoding: Delivery['encoding'] = 'json';
  for (const [name, text] of headers) {
    if (name === null || text === null) continue;
    const header = name.toString('latin1');
    if (header === EVENT_ID_HEADER) eventId = text.toString('utf8');
    else if (header === ENCODING_HEADER && text.toString('latin1') === MSGPACK) encoding = MSGPACK;
  }
  return {
    topic,
    partition,
    position: String(offset),
    takenMs: isBrokersTime
      ? Number(batch.maxTimestamp)
      : takenMsOf(Number(batch.firstTimestamp + timestampDelta), nowMs),
    key: key === null ? null : key.toString('utf8'),
    eventId,
    encoding,
    data: value,
    attempts: 1,
  };
}

/** Which batches belong to an aborted transaction of a foreign producer (KIP-98: producer ids from an offset on). */
class AbortedTransactions {
  readonly #upcoming: { producerId: bigint; firstOffset: bigint }[];
  readonly #open = new Set<bigint>();

  constructor(aborted: readonly { producerId: bigint; firstOffset: bigint }[]) {
    this.#upcoming = [...aborted].sort((a, b) => Number(a.firstOffset - b.firstOffset));
  }

  /** To be called with the batches in their order. */
  covers(batch: RecordsBatch): boolean {
    const last = batch.firstOffset + BigInt(batch.lastOffsetDelta);
    for (
      let first = this.#upcoming[0];
      first !== undefined && first.firstOffset <= last;
      first = this.#upcoming[0]
    ) {
      this.#open.add(first.producerId);
      this.#upcoming.shift();
    }
    if ((batch.attributes & IS_CONTROL) !== 0) {
      // a control record's key is version and type; type 0 aborts the transaction
      if (batch.records[0]?.key?.readInt16BE(2) === 0) this.#open.delete(batch.producerId);
      return false;
    }
    return (batch.attributes & IS_TRANSACTIONAL) !== 0 && this.#open.has(batch.producerId);
  }
}

export const isOutOfRange = (code: number): boolean => code === KafkaCode.offsetOutOfRange;
