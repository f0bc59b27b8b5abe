import { BusError, type Delivery, type PartitionReader } from '../bus.ts';
import type { KafkaCluster } from './cluster.ts';
import { KafkaFetcher } from './fetcher.ts';
import { PartitionBuffer } from './partition-buffer.ts';
import { commitAsOwner } from './group/offsets.ts';

/** brokers forget the offsets of a group without members after some days: they are committed again this often, ms */
const REPEAT_MS = 3_600_000;

interface ReaderOptions {
  topic: string;
  group: string;
  member: string;
  partition: number;
}

/** Reads a partition by offset, outside Kafka's own assignment; commits only what its owner releases. */
export class KafkaPartitionReader implements PartitionReader {
  readonly #cluster: KafkaCluster;
  readonly #options: ReaderOptions;
  readonly #onClosed: () => void;
  readonly #fetcher: KafkaFetcher;
  readonly #buffer: PartitionBuffer;
  /** committed for the group: the first offset that it still needs */
  #released: number;
  #committedMs: number;
  #committing: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(
    cluster: KafkaCluster,
    options: ReaderOptions & { offset: number; released: number; closed: () => void },
  ) {
    this.#cluster = cluster;
    this.#options = options;
    this.#onClosed = options.closed;
    this.#released = options.released;
    this.#committedMs = cluster.env.clock.monotonicMs();
    this.#fetcher = new KafkaFetcher(cluster, options.topic);
    this.#buffer = new PartitionBuffer(options.partition, options.offset);
    this.#fetcher.add(this.#buffer);
  }

  get emptyAsOfMs(): number {
    return this.#buffer.emptyAsOfMs;
  }

  get topic(): string {
    return this.#options.topic;
  }

  get group(): string {
    return this.#options.group;
  }

  async next(limit: number, waitMs: number): Promise<Delivery[]> {
    if (this.#closed) throw new BusError('setup', `this reader of ${this.#options.topic} is closed`);
    const found = await this.#fetcher.next(limit, waitMs, () => true);
    if (this.#cluster.env.clock.monotonicMs() - this.#committedMs > REPEAT_MS)
      await this.#commit(this.#released).catch(() => {});
    return found.flatMap(({ deliveries }) => deliveries);
  }

  async release(position: string): Promise<void> {
    const offset = Number(position) + 1;
    // one after the other, so that an older commit can never overtake a newer one
    const turn = this.#committing.then(async () => {
      if (offset > this.#released) await this.#commit(offset);
    });
    this.#committing = turn.catch(() => {});
    await turn;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#fetcher.close();
    this.#onClosed();
  }

  async #commit(offset: number): Promise<void> {
    const { topic, group, member, partition } = this.#options;
    await commitAsOwner(this.#cluster, group, topic, [{ partition, offset }], member);
    this.#released = offset;
    this.#committedMs = this.#cluster.env.clock.monotonicMs();
  }
}
