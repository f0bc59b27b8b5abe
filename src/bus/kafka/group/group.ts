import type { GroupMarks } from '../../bus.ts';
import type { KafkaCluster } from '../cluster.ts';
import { hasCode, KafkaCode } from '../errors.ts';
import { commitOnce, committedOffsetsOf, offsetsAt } from './offsets.ts';

/**
 * Where a group goes on in the partitions of a topic. Where it has committed nothing, a commit is made: where its mark
 * says, or at the beginning. From then on the group is listed and nothing that it needs is trimmed. `open` are those that
 * only a member may commit, because the group has members.
 */
export async function startingOffsets(
  cluster: KafkaCluster,
  marks: GroupMarks,
  topic: string,
  group: string,
  partitions: readonly number[],
): Promise<{ offsets: Map<number, number>; open: ReadonlySet<number> }> {
  const committed = (await committedOffsetsOf(cluster, group)).get(topic) ?? new Map<number, number>();
  const absent = partitions.filter((partition) => !committed.has(partition));
  if (absent.length === 0) return { offsets: committed, open: new Set() };
  const earliest = await offsetsAt(cluster, topic, absent, 'earliest');
  const commits: { partition: number; offset: number }[] = [];
  for (const partition of absent) {
    const mark = await marks.read(topic, group, partition);
    const offset = mark === null ? (earliest.get(partition) ?? 0) : Number(mark) + 1;
    commits.push({ partition, offset });
    if (mark !== null) {
      cluster.log('warn', 'kafka: the group was unknown to the broker and goes on where it was', {
        topic, group, partition, offset,
      }); // prettier-ignore
    }
  }
  const made = await cluster.retry(`making group ${group}`, async () => {
    try {
      await commitOnce(cluster, cluster.control, group, topic, commits);
      return true;
    } catch (error) {
      // it has members
      if (hasCode(error, KafkaCode.unknownMemberId)) return false;
      throw error;
    }
  });
  const known = made ? committed : ((await committedOffsetsOf(cluster, group)).get(topic) ?? committed);
  const open = commits.filter(({ partition }) => !made && !known.has(partition));
  for (const { partition, offset } of commits) if (!known.has(partition)) known.set(partition, offset);
  return { offsets: known, open: new Set(open.map(({ partition }) => partition)) };
}
