import { BusError, type Delivery, type GroupInfo } from '../../bus.ts';
import type { KafkaCluster } from '../cluster.ts';
import { hasCode, KafkaCode, busError } from '../errors.ts';
import { committedOffsets, committedOffsetsOf, offsetsAt } from './offsets.ts';
import { readFrom } from '../range-read.ts';

const KIP_848 = 'consumer';
/** without this the client lists only classic groups */
const ALL_TYPES = { types: [] };

interface KnownGroup {
  /** by partition: the first offset that it still needs */
  offsets: Map<number, number>;
  isKip848: boolean;
}

/** The groups that have committed offsets in a topic. */
export async function groupsOf(cluster: KafkaCluster, topic: string): Promise<Map<string, KnownGroup>> {
  const types = await groupTypes(cluster);
  const committed = await committedOffsets(cluster, [...types.keys()].sort());
  const groups = new Map<string, KnownGroup>();
  for (const [group, topics] of committed) {
    const offsets = topics.get(topic);
    if (offsets !== undefined) groups.set(group, { offsets, isKip848: types.get(group) === KIP_848 });
  }
  return groups;
}

async function groupTypes(cluster: KafkaCluster): Promise<Map<string, string | undefined>> {
  const listed = await cluster.retry('listing groups', () => cluster.admin.listGroups(ALL_TYPES));
  return new Map([...listed.values()].map(({ id, groupType }) => [id, groupType?.toLowerCase()]));
}

/** @param pendingHere what members in this process have in flight: that of others is not known to the broker */
export async function groupInfos(
  cluster: KafkaCluster,
  topic: string,
  partitions: readonly number[],
  pendingHere: (group: string, partition: number) => number,
): Promise<GroupInfo[]> {
  const groups = await groupsOf(cluster, topic);
  if (groups.size === 0) return [];
  const [earliest, latest] = await Promise.all([
    offsetsAt(cluster, topic, partitions, 'earliest'),
    offsetsAt(cluster, topic, partitions, 'latest'),
  ]);
  const infos: GroupInfo[] = [];
  // most groups wait at the same record
  const firsts = new Map<string, Delivery | undefined>();
  for (const [group, { offsets, isKip848 }] of groups) {
    const members = await membersOf(cluster, group, isKip848, topic);
    for (const partition of partitions) {
      const committed = offsets.get(partition) ?? null;
      const first = Math.max(committed ?? 0, earliest.get(partition) ?? 0);
      const left = Math.max(0, (latest.get(partition) ?? 0) - first);
      const pending = Math.min(left, pendingHere(group, partition));
      const at = `${partition}:${first}`;
      if (left > 0 && !firsts.has(at)) firsts.set(at, await recordAt(cluster, topic, partition, first));
      const oldest = left > 0 ? firsts.get(at) : undefined;
      infos.push({
        topic,
        group,
        partition,
        pending,
        lag: left - pending,
        lagMs: ageOf(cluster, { topic, group, partition }, oldest),
        idleMs: members > 0 ? 0 : null,
        members,
        acknowledged: committed === null || committed === 0 ? null : String(committed - 1),
      });
    }
  }
  return infos;
}

/** Age of the oldest record that a group still needs, ms; 0 when there is none. */
export async function lagOf(
  cluster: KafkaCluster,
  topic: string,
  group: string,
  partitions: readonly number[],
): Promise<number> {
  const committed = (await committedOffsetsOf(cluster, group)).get(topic) ?? new Map<number, number>();
  const latest = await offsetsAt(cluster, topic, partitions, 'latest');
  let oldest = 0;
  for (const partition of partitions) {
    const first = committed.get(partition) ?? 0;
    const isBehind = first < (latest.get(partition) ?? 0);
    const record = isBehind ? await recordAt(cluster, topic, partition, first) : undefined;
    oldest = Math.max(oldest, ageOf(cluster, { topic, group, partition }, record));
  }
  return oldest;
}

/** The first one at or beyond an offset. */
async function recordAt(
  cluster: KafkaCluster,
  topic: string,
  partition: number,
  offset: number,
): Promise<Delivery | undefined> {
  return (await readFrom(cluster, topic, partition, offset, 1))[0];
}

/** @param oldest the first record that the group needs; undefined: it needs none */
function ageOf(
  cluster: KafkaCluster,
  { topic, group, partition }: { topic: string; group: string; partition: number },
  oldest: Delivery | undefined,
): number {
  const of = `${topic} ${partition} ${group}`;
  if (oldest === undefined) return cluster.oldestWaiting.ageMs(of, null, 0, 0);
  return Math.max(1, cluster.oldestWaiting.ageMs(of, oldest.position, oldest.takenMs, cluster.nowMs()));
}

async function membersOf(
  cluster: KafkaCluster,
  group: string,
  isKip848: boolean,
  topic: string,
): Promise<number> {
  return cluster.retry(`describing group ${group}`, async () => {
    try {
      if (isKip848) {
        const coordinator = await cluster.coordinatorOf(group);
        const { control } = cluster;
        const answer = await cluster.send('ConsumerGroupDescribe', control, coordinator, [group], false);
        const members = answer.groups[0]?.members ?? [];
        return members.filter(({ subscribedTopicNames }) => subscribedTopicNames.includes(topic)).length;
      }
      const described = (await cluster.admin.describeGroups({ groups: [group] })).get(group);
      const members = [...(described?.members.values() ?? [])];
      return members.filter(({ metadata }) => metadata?.topics?.includes(topic) ?? true).length;
    } catch (error) {
      if (hasCode(error, KafkaCode.groupIdNotFound)) return 0; // deleted meanwhile
      throw error;
    }
  });
}

/** Deletes what a group committed in a topic, and the group itself when that was all. @throws BusError while it has members */
export async function dropGroup(
  cluster: KafkaCluster,
  topic: string,
  group: string,
  partitions: readonly number[],
): Promise<boolean> {
  const committed = await committedOffsetsOf(cluster, group);
  if (!committed.has(topic)) return false;
  const isKip848 = (await groupTypes(cluster)).get(group) === KIP_848;
  const members = await membersOf(cluster, group, isKip848, topic);
  if (members > 0) {
    throw new BusError(
      'refused',
      `group ${group} has ${members} living members on ${topic}: stop them first`,
    );
  }
  await cluster.retry(`dropping group ${group}`, async () => {
    try {
      if (committed.size === 1) await cluster.admin.deleteGroups({ groups: [group] });
      else {
        const partitionIndexes = [...partitions];
        await cluster.admin.deleteConsumerGroupOffsets({
          groupId: group,
          topics: [{ name: topic, partitionIndexes }],
        });
      }
    } catch (error) {
      if (hasCode(error, KafkaCode.groupIdNotFound)) return;
      if (!hasCode(error, KafkaCode.nonEmptyGroup, KafkaCode.groupSubscribedToTopic)) throw error;
      throw new BusError('refused', busError(error, `group ${group} has living members`).message, error);
    }
  });
  return true;
}
