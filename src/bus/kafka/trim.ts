import type { TrimPolicy } from '../bus.ts';
import type { KafkaCluster } from './cluster.ts';
import { groupsOf } from './group/groups.ts';
import { offsetsAt } from './group/offsets.ts';

/** Deletes records that no group needs and that the policy lets go; answers how many. */
export async function trim(
  cluster: KafkaCluster,
  topic: string,
  partitions: readonly number[],
  policy: TrimPolicy,
  mine: ReadonlySet<string>,
): Promise<number> {
  const groups = await groupsOf(cluster, topic);
  const missing = [...mine].filter((group) => !groups.has(group));
  if (missing.length > 0) {
    // nothing may go while a group that reads here is not seen (its offsets were deleted, or may not be described)
    cluster.log('warn', 'kafka: not trimmed, groups that are read here are not listed', {
      topic,
      groups: missing,
    });
    return 0;
  }
  const keepMs = groups.size === 0 ? policy.retentionMs : policy.acknowledgedMs;
  const [earliest, latest] = await Promise.all([
    offsetsAt(cluster, topic, partitions, 'earliest'),
    offsetsAt(cluster, topic, partitions, 'latest'),
  ]);
  // the ends first: where nothing is young, records that came since they were asked for are not taken for old ones
  const youngest = await offsetsAt(cluster, topic, partitions, cluster.nowMs() - keepMs);
  const deleted: { partition: number; offset: bigint }[] = [];
  let count = 0;
  for (const partition of partitions) {
    const start = earliest.get(partition) ?? 0;
    const needed = [...groups.values()].map(({ offsets }) => offsets.get(partition) ?? start);
    const kept = keepMs === 0 ? undefined : youngest.get(partition);
    const before = Math.min(kept ?? Number.POSITIVE_INFINITY, latest.get(partition) ?? 0, ...needed);
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
