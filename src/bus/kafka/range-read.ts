import { BusError, type Delivery } from '../bus.ts';
import type { KafkaCluster } from './cluster.ts';
import { fetchOnce } from './fetch.ts';
import { offsetsAt } from './group/offsets.ts';

/** gets the first batch of a partition: it is always sent whole */
const FIRST_BYTES = 1;

/** Records from an offset on, or from the first one left when that offset was deleted. */
export async function readFrom(
  cluster: KafkaCluster,
  topic: string,
  partition: number,
  from: number,
  limit: number,
): Promise<Delivery[]> {
  return cluster.retry(`reading ${topic}`, async () => {
    const { start, end } = await extent(cluster, topic, partition);
    return read(cluster, topic, partition, Math.max(from, start), end, limit);
  });
}

/** The newest records, the oldest of them first. */
export async function readTail(
  cluster: KafkaCluster,
  topic: string,
  partition: number,
  limit: number,
): Promise<Delivery[]> {
  if (limit <= 0) return [];
  return cluster.retry(`reading ${topic}`, async () => {
    const { start, end } = await extent(cluster, topic, partition);
    // some offsets have no record (ends of transactions): reads further back until there are enough
    for (let back = limit; ; back *= 2) {
      const from = Math.max(start, end - back);
      const records = await read(cluster, topic, partition, from, end, Number.POSITIVE_INFINITY);
      if (records.length >= limit || from === start) return records.slice(-limit);
    }
  });
}

async function extent(
  cluster: KafkaCluster,
  topic: string,
  partition: number,
): Promise<{ start: number; end: number }> {
  const [earliest, latest] = await Promise.all([
    offsetsAt(cluster, topic, [partition], 'earliest'),
    offsetsAt(cluster, topic, [partition], 'latest'),
  ]);
  return { start: earliest.get(partition) ?? 0, end: latest.get(partition) ?? 0 };
}

async function read(
  cluster: KafkaCluster,
  topic: string,
  partition: number,
  from: number,
  end: number,
  limit: number,
): Promise<Delivery[]> {
  const records: Delivery[] = [];
  let offset = from;
  while (offset < end && records.length < limit) {
    const answers = await fetchOnce(cluster, cluster.control, {
      broker: await cluster.leaderOf(topic, partition),
      topic,
      positions: [{ partition, offset }],
      waitMs: 0,
      ...(limit === 1 ? { partitionBytes: FIRST_BYTES } : {}),
    });
    const fetched = answers.get(partition);
    if (fetched === undefined || fetched.code !== 0) {
      throw new BusError(
        'unreachable',
        `the broker refuses to read (Kafka's error ${fetched?.code ?? 'none'})`,
      );
    }
    if (fetched.next === offset) break;
    records.push(...fetched.deliveries.slice(0, limit - records.length));
    offset = fetched.next;
  }
  return records;
}
