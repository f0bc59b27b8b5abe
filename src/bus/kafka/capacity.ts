import type { BusUsage } from '../bus.ts';
import type { TrimBounds } from '../log-ages.ts';
import type { KafkaCluster } from './cluster.ts';
import { fetchOnce } from './fetch.ts';
import { groupsOf } from './group/groups.ts';
import { offsetsAt } from './group/offsets.ts';

const SAMPLE_BYTES = 64 * 1024;

/**
 * Bytes of the records that are kept. The broker deletes whole segments, minutes after they were trimmed. Those are not
 * counted, or publishers would wait for the deletion: a partition counts with the number of its records times their mean
 * size, sampled at both ends, and with the size of its segments at most.
 */
export async function usage(
  cluster: KafkaCluster,
  topics: readonly { topic: string; partitions: readonly number[] }[],
  maxBytes: number,
): Promise<BusUsage> {
  if (topics.length === 0) return { bytes: 0, maxBytes, topics: new Map() };
  const described = await cluster.retry('asking for the size of topics', () =>
    cluster.admin.describeLogDirs({
      topics: topics.map(({ topic, partitions }) => ({ name: topic, partitions: [...partitions] })),
    }),
  );
  const onDisk = new Map<string, number>();
  let free = Number.POSITIVE_INFINITY;
  for (const { results } of described) {
    for (const { topics, usableBytes } of results) {
      if (topics.length > 0 && Number(usableBytes) > 0) free = Math.min(free, Number(usableBytes));
      for (const { name, partitions } of topics) {
        for (const { partitionIndex, partitionSize } of partitions) {
          const at = `${name}:${partitionIndex}`;
          // replicas: the largest
          onDisk.set(at, Math.max(onDisk.get(at) ?? 0, Number(partitionSize)));
        }
      }
    }
  }
  const sizes = new Map<string, number>();
  for (const { topic, partitions } of topics) {
    let bytes = 0;
    const start = await offsetsAt(cluster, topic, partitions, 'earliest');
    const end = await offsetsAt(cluster, topic, partitions, 'latest');
    for (const partition of partitions) {
      const size = onDisk.get(`${topic}:${partition}`) ?? 0;
      const first = start.get(partition) ?? 0;
      const count = (end.get(partition) ?? 0) - first;
      // nothing was trimmed: the segments contain exactly what is kept
      if (first === 0 || count <= 0) bytes += count <= 0 ? 0 : size;
      else
        bytes += Math.min(size, count * (await recordBytes(cluster, topic, partition, first, first + count)));
    }
    sizes.set(topic, Math.round(bytes));
  }
  const bytes = [...sizes.values()].reduce((sum, size) => sum + size, 0);
  return { bytes, maxBytes: Math.min(maxBytes, bytes + free), topics: sizes };
}

/** Mean bytes of a record on disk, from samples of whole batches at both ends of a partition. */
async function recordBytes(
  cluster: KafkaCluster,
  topic: string,
  partition: number,
  first: number,
  end: number,
): Promise<number> {
  return cluster.retry(`reading ${topic}`, async () => {
    const broker = await cluster.leaderOf(topic, partition);
    let [bytes, records] = [0, 0];
    for (const offset of [first, Math.max(first, end - 100)]) {
      const answers = await fetchOnce(cluster, cluster.control, {
        broker, topic, positions: [{ partition, offset }], waitMs: 0, partitionBytes: SAMPLE_BYTES,
      }); // prettier-ignore
      const sample = answers.get(partition);
      bytes += sample?.bytes ?? 0;
      records += sample?.records ?? 0;
    }
    return records === 0 ? Number.POSITIVE_INFINITY : bytes / records;
  });
}

/** Deletes records that no group needs and that lie within the bounds of their partition. @returns how many */
export async function trim(
  cluster: KafkaCluster,
  topic: string,
  bounds: ReadonlyMap<number, TrimBounds>,
  usedHere: ReadonlySet<string>,
): Promise<number> {
  const groups = await groupsOf(cluster, topic);
  const missing = [...usedHere].filter((group) => !groups.has(group));
  if (missing.length > 0) {
    // nothing is deleted while a group of this process is not listed (its offsets are gone, or we may not see them)
    cluster.env.log('warn', 'kafka: not trimmed, groups that are read here are not listed', {
      topic,
      groups: missing,
    });
    return 0;
  }
  const partitions = [...bounds.keys()];
  const [earliest, latest] = await Promise.all([
    offsetsAt(cluster, topic, partitions, 'earliest'),
    offsetsAt(cluster, topic, partitions, 'latest'),
  ]);
  const deleted: { partition: number; offset: bigint }[] = [];
  let count = 0;
  for (const [partition, { acknowledged, unclaimed }] of bounds) {
    const upTo = groups.size === 0 ? unclaimed : acknowledged;
    if (upTo === null) continue;
    const start = earliest.get(partition) ?? 0;
    const needed = [...groups.values()].map(({ offsets }) => offsets.get(partition) ?? start);
    const before = Math.min(Number(upTo) + 1, latest.get(partition) ?? 0, ...needed);
    if (before <= start) continue;
    count += before - start;
    deleted.push({ partition, offset: BigInt(before) });
  }
  if (deleted.length === 0) return 0;
  await cluster.retry(`trimming ${topic}`, () =>
    cluster.admin.deleteRecords({ topics: [{ name: topic, partitions: deleted }] }),
  );
  return count;
}
