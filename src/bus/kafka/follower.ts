import { BusError, TrimmedError, type BusFollower, type Delivery } from '../bus.ts';
import type { KafkaCluster } from './cluster.ts';
import { KafkaFetcher } from './fetcher.ts';
import { PartitionBuffer } from './partition-buffer.ts';

/** Fetches one partition without a group, on connections of its own. */
export class KafkaFollower implements BusFollower {
  readonly #topic: string;
  readonly #fetcher: KafkaFetcher;
  readonly #buffer: PartitionBuffer;
  readonly #onClosed: () => void;
  #closed = false;

  constructor(
    cluster: KafkaCluster,
    { topic, partition, offset }: { topic: string; partition: number; offset: number },
    onClosed: () => void,
  ) {
    this.#topic = topic;
    this.#onClosed = onClosed;
    this.#fetcher = new KafkaFetcher(cluster, topic);
    this.#buffer = new PartitionBuffer(partition, offset);
    this.#fetcher.add(this.#buffer);
  }

  async next(limit: number, waitMs: number): Promise<Delivery[]> {
    if (this.#closed) throw new BusError('unreachable', 'this follower is closed');
    const found = await this.#fetcher.next(limit, waitMs, () => true);
    const deliveries = found.flatMap((each) => each.deliveries);
    const { jumpedTo } = this.#buffer;
    if (jumpedTo === null) return deliveries;
    // it is fetched only when nothing is left of before: all of these are from behind the loss
    this.#buffer.giveBack(deliveries);
    this.#buffer.jumpedTo = null;
    throw new TrimmedError(this.#topic, this.#buffer.partition, String(jumpedTo));
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#fetcher.close();
    this.#onClosed();
  }
}
