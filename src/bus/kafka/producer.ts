import { NumericMap, type MessageRecord } from '@platformatic/kafka';
import { partitionOf } from '../../core/bus/partitions.ts';
import { BusError, type OutgoingRecord } from '../bus.ts';
import type { KafkaCluster } from './cluster.ts';
import { busError, hasCode, KafkaCode } from './errors.ts';
import { ENCODING_HEADER, EVENT_ID_HEADER, MSGPACK } from './fetch.ts';
import type { BrokerConnections } from './connections.ts';
import type { KafkaTopics } from './topics.ts';

const ACKS_ALL = -1;
/** limits of one batch, which always has at least one record */
const BATCH_BYTES = 512 * 1024;
const BATCH_RECORDS = 5000;
/** upper bounds of what a batch and a record take besides key, value and headers, bytes */
const BATCH_OVERHEAD = 64;
const RECORD_OVERHEAD = 64;

const EVENT_ID = Buffer.from(EVENT_ID_HEADER);
const ENCODING = Buffer.from(ENCODING_HEADER);
const MSGPACK_VALUE = Buffer.from(MSGPACK);

/** One call of publish(). */
class PublishCall {
  readonly positions: string[];
  readonly settled = Promise.withResolvers<string[]>();
  #left: number;
  #failure: BusError | null = null;

  constructor(count: number) {
    this.positions = Array.from<string>({ length: count });
    this.#left = count;
  }

  /** A failure that passes by itself outranks a refusal: the whole call is to be repeated then. */
  failed(failure: BusError): void {
    if (this.#failure === null || this.#failure.kind === 'refused') this.#failure = failure;
    this.#one();
  }

  placed(index: number, position: string): void {
    this.positions[index] = position;
    this.#one();
  }

  #one(): void {
    this.#left -= 1;
    if (this.#left > 0) return;
    if (this.#failure === null) this.settled.resolve(this.positions);
    else this.settled.reject(this.#failure);
  }
}

interface Waiting {
  call: PublishCall;
  index: number;
  message: MessageRecord;
  bytes: number;
}

/** Publishes to partitions, independently of each other. */
export class KafkaProducer {
  readonly #cluster: KafkaCluster;
  readonly #topics: KafkaTopics;
  readonly #connections: BrokerConnections;
  readonly #partitions = new Map<string, PartitionProducer>();

  constructor(cluster: KafkaCluster, topics: KafkaTopics) {
    this.#cluster = cluster;
    this.#topics = topics;
    this.#connections = cluster.openConnections();
  }

  async publish(topic: string, records: readonly OutgoingRecord[]): Promise<string[]> {
    if (records.length === 0) return [];
    await this.#topics.ready(topic);
    const count = this.#topics.partitions(topic);
    const call = new PublishCall(records.length);
    const producers = new Set<PartitionProducer>();
    for (const [index, record] of records.entries()) {
      const partition = partitionOf(record.key, count);
      const producer = this.#producerOf(topic, partition);
      const message = messageOf(topic, partition, record);
      producer.add({ call, index, message, bytes: bytesOf(message) });
      producers.add(producer);
    }
    for (const producer of producers) producer.go();
    return call.settled.promise;
  }

  #producerOf(topic: string, partition: number): PartitionProducer {
    const name = `${topic}:${partition}`;
    let producer = this.#partitions.get(name);
    if (producer === undefined) {
      producer = new PartitionProducer(this.#cluster, this.#topics, this.#connections, topic, partition);
      this.#partitions.set(name, producer);
    }
    return producer;
  }
}

/**
 * One partition: one request at a time, with its own producer id and sequence, so that what is sent again after a lost
 * answer is neither stored twice nor out of order.
 */
class PartitionProducer {
  readonly #cluster: KafkaCluster;
  readonly #topics: KafkaTopics;
  readonly #connections: BrokerConnections;
  readonly #topic: string;
  readonly #partition: number;
  #queue: Waiting[] = [];
  #producer: { id: bigint; epoch: number; sequence: number } | null = null;
  #busy = false;

  constructor(
    cluster: KafkaCluster,
    topics: KafkaTopics,
    connections: BrokerConnections,
    topic: string,
    partition: number,
  ) {
    this.#cluster = cluster;
    this.#topics = topics;
    this.#connections = connections;
    this.#topic = topic;
    this.#partition = partition;
  }

  add(waiting: Waiting): void {
    this.#queue.push(waiting);
  }

  go(): void {
    if (!this.#busy) void this.#run();
  }

  async #run(): Promise<void> {
    this.#busy = true;
    while (this.#queue.length > 0) {
      try {
        const { maxBatchBytes } = await this.#topics.ready(this.#topic);
        await this.#send(this.#batch(Math.min(BATCH_BYTES, maxBatchBytes)), maxBatchBytes);
      } catch (error) {
        // records queued behind must not overtake those that failed
        this.#fail(this.#queue.splice(0), busError(error, `publishing to ${this.#topic}`));
      }
    }
    this.#busy = false;
  }

  #batch(limit: number): Waiting[] {
    let bytes = BATCH_OVERHEAD;
    let count = 0;
    for (const waiting of this.#queue) {
      bytes += waiting.bytes;
      if (count > 0 && (bytes > limit || count >= BATCH_RECORDS)) break;
      count += 1;
    }
    return this.#queue.splice(0, count);
  }

  /** Tells the calls of the batch how it went. @throws BusError, then for all that is queued behind it as well */
  async #send(batch: readonly Waiting[], maxBatchBytes: number): Promise<void> {
    const [first] = batch;
    if (batch.length === 1 && first.message.value.length > maxBatchBytes) {
      this.#topics.forget(this.#topic); // it may have been raised since
      this.#fail(batch, tooLarge(this.#topic, first, maxBatchBytes));
      return;
    }
    try {
      const offset = await this.#cluster.retry(`publishing to ${this.#topic}`, () => this.#produce(batch));
      for (const [at, { call, index }] of batch.entries()) call.placed(index, String(offset + BigInt(at)));
    } catch (error) {
      if (hasCode(error, KafkaCode.messageTooLarge, KafkaCode.recordListTooLarge)) {
        await this.#halve(batch, maxBatchBytes);
        return;
      }
      // it may or may not be stored, so another sequence begins; and the topic may have been deleted
      this.#producer = null;
      this.#topics.forget(this.#topic);
      const failure = busError(error, `publishing to ${this.#topic}`);
      this.#fail(batch, failure);
      if (failure.kind !== 'refused') throw failure;
    }
  }

  /** The limit of the topic was lowered: sends in halves, down to the single record that is too large. */
  async #halve(batch: readonly Waiting[], maxBatchBytes: number): Promise<void> {
    this.#topics.forget(this.#topic);
    if (batch.length === 1) {
      this.#fail(batch, tooLarge(this.#topic, batch[0], maxBatchBytes));
      return;
    }
    const middle = batch.length >> 1;
    const halves = [batch.slice(0, middle), batch.slice(middle)];
    for (const [at, half] of halves.entries()) {
      try {
        await this.#send(half, maxBatchBytes);
      } catch (error) {
        for (const rest of halves.slice(at + 1))
          this.#fail(rest, busError(error, `publishing to ${this.#topic}`));
        throw error;
      }
    }
  }

  /** The offset of the first record. */
  async #produce(batch: readonly Waiting[]): Promise<bigint> {
    const broker = await this.#cluster.leaderOf(this.#topic, this.#partition);
    const producer = (this.#producer ??= await this.#newProducer());
    const { id, epoch, sequence } = producer;
    const sequences = new NumericMap([[`${this.#topic}:${this.#partition}`, sequence]]);
    try {
      const answer = await this.#cluster.send(
        'Produce', this.#connections, broker, ACKS_ALL, this.#cluster.requestTimeoutMs,
        batch.map(({ message }) => message), { producerId: id, producerEpoch: epoch, sequences },
      ); // prettier-ignore
      const placed = typeof answer === 'boolean' ? undefined : answer.responses[0]?.partitionResponses[0];
      if (placed === undefined)
        throw new BusError('unreachable', 'the broker did not say where the records are');
      producer.sequence = (sequence + batch.length) % 0x80000000;
      return placed.baseOffset;
    } catch (error) {
      // the broker no longer knows this producer (it forgets after a day, or its log was truncated): begin anew
      if (
        hasCode(error, KafkaCode.outOfOrderSequence, KafkaCode.unknownProducerId, KafkaCode.invalidProducerEpoch,
          KafkaCode.producerFenced) // prettier-ignore
      ) {
        this.#producer = null;
      }
      throw error;
    }
  }

  async #newProducer(): Promise<{ id: bigint; epoch: number; sequence: number }> {
    const broker = await this.#cluster.leaderOf(this.#topic, this.#partition);
    const answer = await this.#cluster.send('InitProducerId', this.#connections, broker, null, 0, -1n, -1);
    return { id: answer.producerId, epoch: answer.producerEpoch, sequence: 0 };
  }

  #fail(waiting: readonly Waiting[], failure: BusError): void {
    for (const { call } of waiting) call.failed(failure);
  }
}

function messageOf(topic: string, partition: number, record: OutgoingRecord): MessageRecord {
  const { key, eventId, data, encoding } = record;
  const headers = new Map<Buffer, Buffer>();
  if (eventId !== null) headers.set(EVENT_ID, Buffer.from(eventId));
  if (encoding === 'msgpack') headers.set(ENCODING, MSGPACK_VALUE);
  const value = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return { topic, partition, key: Buffer.from(key), value, headers };
}

function bytesOf({ key, value, headers }: MessageRecord): number {
  let bytes = RECORD_OVERHEAD + (key?.length ?? 0) + value.length;
  for (const [name, text] of headers ?? []) bytes += name.length + text.length + 10;
  return bytes;
}

function tooLarge(topic: string, { index, message }: Waiting, maxBatchBytes: number): BusError {
  const key = message.key?.toString('utf8').slice(0, 40) ?? '';
  return new BusError(
    'refused',
    `record ${index} (${key}) has ${message.value.length} bytes, more than ${topic} takes (max.message.bytes ${maxBatchBytes})`,
  );
}
