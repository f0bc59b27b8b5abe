import { testEnv } from '../../../support/bus/env.ts';
import { test } from 'tap';
import type { KafkaCluster } from '../../../../src/bus/kafka/cluster.ts';
import { trim } from '../../../../src/bus/kafka/capacity.ts';

const NOW_MS = 1_755_945_303_000;
const HOUR_MS = 3_600_000;
const LATEST = -1n;
const EARLIEST = -2n;

interface Wish {
  name: string;
  partitions: { partitionIndex: number; timestamp: bigint }[];
}

/** A topic of one partition without groups, whose records carry these times; `beforeAnswer` runs before each answer. */
function topicOf(
  takenMs: number[],
  beforeAnswer: () => void,
): { cluster: KafkaCluster; deletedUpTo: () => number } {
  let deleted = 0;
  const answer = (timestamp: bigint): bigint => {
    if (timestamp === LATEST) return BigInt(takenMs.length);
    if (timestamp === EARLIEST) return BigInt(deleted);
    return BigInt(takenMs.findIndex((ms) => ms >= Number(timestamp)));
  };
  const admin = {
    listGroups: () => Promise.resolve(new Map()),
    listOffsets: ({ topics }: { topics: Wish[] }) => {
      beforeAnswer();
      const answers = topics.map(({ name, partitions }) => ({
        name,
        partitions: partitions.map(({ partitionIndex, timestamp }) => ({
          partitionIndex,
          offset: answer(timestamp),
        })),
      }));
      return Promise.resolve(answers);
    },
    deleteRecords: ({ topics }: { topics: { partitions: { offset: bigint }[] }[] }) => {
      deleted = Number(topics[0]?.partitions[0]?.offset);
      return Promise.resolve();
    },
  };
  const cluster = {
    admin,
    nowMs: () => NOW_MS,
    retry: (_: string, call: () => unknown) => call(),
    env: testEnv(),
  };
  return { cluster: cluster as unknown as KafkaCluster, deletedUpTo: () => deleted };
}

const POLICY = { acknowledgedMs: 600_000, retentionMs: 24 * HOUR_MS };

void test('of a topic without groups goes what is older than its retention', async (t) => {
  const { cluster, deletedUpTo } = topicOf([NOW_MS - 30 * HOUR_MS, NOW_MS - 25 * HOUR_MS, NOW_MS], () => {});
  t.equal(await trim(cluster, 'events', [0], POLICY, new Set()), 2);
  t.equal(deletedUpTo(), 2);
});

void test('records that come while it looks are not taken for old ones', async (t) => {
  const takenMs: number[] = [];
  const { cluster, deletedUpTo } = topicOf(takenMs, () => takenMs.push(NOW_MS));
  await trim(cluster, 'events', [0], POLICY, new Set());
  t.equal(deletedUpTo(), 0);
});
