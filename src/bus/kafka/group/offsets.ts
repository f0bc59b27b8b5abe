import { BusError, type GroupCheckpoints } from '../../bus.ts';
import type { KafkaCluster } from '../cluster.ts';
import { hasCode, KafkaCode } from '../errors.ts';
import type { BrokerConnections } from '../connections.ts';

/** Special timestamps of ListOffsets. */
const LATEST = -1n;
const EARLIEST = -2n;
const READ_COMMITTED = 1;

/** Who commits: a member with its epoch (KIP-848) or generation (classic). */
export interface Committer {
  memberId: string;
  epoch: number;
  /** classic: group.instance.id */
  instanceId: string | null;
}
/** Commits without being a member, which only a group without members allows. */
const NOBODY: Committer = { memberId: '', epoch: -1, instanceId: null };

export interface Commit {
  partition: number;
  /** of the first record that the group still needs */
  offset: number;
}

/**
 * Offsets by time. A number, ms since 1970: the first record taken at or after it, absent where there is none. 'earliest':
 * the first record that is there. 'latest': the offset that the next record will get.
 */
export async function offsetsAt(
  cluster: KafkaCluster,
  topic: string,
  partitions: readonly number[],
  time: number | 'earliest' | 'latest',
): Promise<Map<number, number>> {
  const timestamp =
    time === 'earliest' ? EARLIEST : time === 'latest' ? LATEST : BigInt(Math.max(0, Math.floor(time)));
  const topics = await cluster.retry(`asking for offsets of ${topic}`, () =>
    cluster.admin.listOffsets({
      topics: [
        { name: topic, partitions: partitions.map((partitionIndex) => ({ partitionIndex, timestamp })) },
      ],
      isolationLevel: READ_COMMITTED,
    }),
  );
  const offsets = new Map<number, number>();
  for (const { partitions } of topics) {
    for (const { partitionIndex, offset } of partitions)
      if (offset >= 0n) offsets.set(partitionIndex, Number(offset));
  }
  return offsets;
}

/** By topic and partition: the offset of the first record that a group still needs. */
type Committed = Map<string, Map<number, number>>;

/** What groups have committed. */
export async function committedOffsets(
  cluster: KafkaCluster,
  groups: readonly string[],
): Promise<Map<string, Committed>> {
  if (groups.length === 0) return new Map();
  const answers = await cluster.retry('asking for the offsets of groups', () =>
    cluster.admin.listConsumerGroupOffsets({ groups: [...groups], requireStable: false }),
  );
  const all = new Map<string, Committed>();
  for (const { groupId, topics } of answers) {
    const committed: Committed = new Map();
    for (const { name, partitions } of topics) {
      const offsets = new Map<number, number>();
      for (const { partitionIndex, committedOffset } of partitions) {
        if (committedOffset >= 0n) offsets.set(partitionIndex, Number(committedOffset));
      }
      if (offsets.size > 0) committed.set(name, offsets);
    }
    all.set(groupId, committed);
  }
  return all;
}

export async function committedOffsetsOf(cluster: KafkaCluster, group: string): Promise<Committed> {
  return (await committedOffsets(cluster, [group])).get(group) ?? new Map();
}

/**
 * One commit, once.
 * @throws the client's error, with the broker's code; @see KafkaCode
 */
export async function commitOnce(
  cluster: KafkaCluster,
  connections: BrokerConnections,
  group: string,
  topic: string,
  commits: readonly Commit[],
  by: Committer = NOBODY,
  note: string | null = null,
): Promise<void> {
  const partitions = commits.map(({ partition, offset }) => ({
    partitionIndex: partition,
    committedOffset: BigInt(offset),
    committedLeaderEpoch: -1,
    committedMetadata: note,
  }));
  const coordinator = await cluster.coordinatorOf(group);
  await cluster.send('OffsetCommit', connections, coordinator, group, by.epoch, by.memberId, by.instanceId, [
    { name: topic, partitions },
  ]);
}

/** Commits of a role that owns its partition by a lease. @throws BusError 'setup' when others are members of the group */
export async function commitAsOwner(
  cluster: KafkaCluster,
  group: string,
  topic: string,
  commits: readonly Commit[],
  note: string,
): Promise<void> {
  await cluster.retry(`committing for group ${group}`, async () => {
    try {
      await commitOnce(cluster, cluster.control, group, topic, commits, NOBODY, note);
    } catch (error) {
      if (!hasCode(error, KafkaCode.unknownMemberId)) throw error;
      throw new BusError('setup', `group ${group} has members: its partitions cannot be owned`, error);
    }
  });
}

/**
 * Where a group goes on in the partitions of a topic. Where it has committed nothing, its checkpoint or the beginning is
 * committed: from then on the group is listed and nothing that it needs is trimmed. `open` are those that only a member
 * may commit, because the group has members.
 */
export async function startingOffsets(
  cluster: KafkaCluster,
  checkpoints: GroupCheckpoints,
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
    const checkpoint = await checkpoints.read(topic, group, partition);
    const offset = checkpoint === null ? (earliest.get(partition) ?? 0) : Number(checkpoint) + 1;
    commits.push({ partition, offset });
    if (checkpoint !== null) {
      cluster.env.log('warn', 'kafka: the group was unknown to the broker and goes on where it was', {
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
