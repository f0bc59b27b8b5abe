import { test } from 'tap';
import {
  MemberPartitions,
  type PartitionProgress,
} from '../../../../../src/bus/kafka/group/member-partitions.ts';
import type { PartitionBuffer } from '../../../../../src/bus/kafka/partition-buffer.ts';

/** Partitions of a member, and those that are being fetched. */
function memberPartitions(): { partitions: MemberPartitions; fetched: Set<PartitionBuffer> } {
  const fetched = new Set<PartitionBuffer>();
  const partitions = new MemberPartitions({
    add: (buffer) => void fetched.add(buffer),
    remove: (buffer) => void fetched.delete(buffer),
  });
  return { partitions, fetched };
}

/** The offsets that a group has committed, of all partitions that are asked for. */
const committedAt = (offset: number, ...partitions: number[]) => ({
  offsets: new Map(partitions.map((partition) => [partition, offset])),
  open: new Set<number>(),
});

/** Opens partition 0 at an offset, with one record of this offset in flight. */
function openWithOneInFlight(partitions: MemberPartitions, offset: number): PartitionProgress {
  partitions.open(partitions.assigned([0]), committedAt(offset, 0));
  const progress = partitions.owned(0)!;
  progress.tracker.take(offset);
  return progress;
}

async function isSettled(promise: Promise<void>): Promise<boolean> {
  let settled = false;
  void promise.then(() => (settled = true));
  await new Promise(setImmediate);
  return settled;
}

await test('a partition is fetched and may be taken once its offset is known', async (t) => {
  const { partitions, fetched } = memberPartitions();
  const starting = partitions.assigned([0, 1]);
  t.equal(partitions.owned(0), null);
  t.same(partitions.assigned([0, 1]), [], 'the same answer again begins nothing');
  t.same(partitions.open(starting, committedAt(7, 0, 1)), [0, 1]);
  const { buffer, tracker } = partitions.owned(1)!;
  t.equal(buffer.offset, 7);
  t.equal(tracker.committed, 7);
  t.ok(fetched.has(buffer) && partitions.mayTake(buffer));
  t.equal(partitions.allOwned().length, 2);
});

await test('what is taken away before its offset is known does not open', async (t) => {
  const { partitions, fetched } = memberPartitions();
  const first = partitions.assigned([0]);
  await partitions.release([0]);
  t.same(partitions.open(first, committedAt(0, 0)), []);
  const second = partitions.assigned([0]);
  t.same(partitions.open(first, committedAt(0, 0)), [], 'nor on the occasion before');
  t.same(partitions.open(second, committedAt(0, 0)), [0]);
  t.equal(fetched.size, 1);
});

await test('a partition is given up once nothing is in flight and everything is committed', async (t) => {
  const { partitions, fetched } = memberPartitions();
  const { buffer, tracker } = openWithOneInFlight(partitions, 3);
  const released = partitions.release([0]);
  t.notOk(partitions.mayTake(buffer));
  t.equal(partitions.owned(0)?.tracker, tracker, 'it may still be committed');
  tracker.acknowledge(3);
  partitions.letGo();
  t.notOk(await isSettled(released), 'acknowledged and not committed');
  tracker.committed = tracker.committable;
  partitions.letGo();
  t.ok(await isSettled(released));
  t.equal(partitions.progressOf(0), null);
  t.notOk(tracker.valid);
  t.equal(fetched.size, 0);
});

await test('a partition with nothing in flight is given up at once', async (t) => {
  const { partitions } = memberPartitions();
  partitions.open(partitions.assigned([0]), committedAt(0, 0));
  t.ok(await isSettled(partitions.release([0, 5])));
  t.equal(partitions.owned(0), null);
});

await test('a lost partition comes back with what was in flight when nobody got further', async (t) => {
  const { partitions, fetched } = memberPartitions();
  const progress = openWithOneInFlight(partitions, 3);
  partitions.lost();
  t.equal(partitions.owned(0), null);
  t.equal(fetched.size, 0);
  t.equal(partitions.progressOf(0), progress, 'acknowledgements are noted');
  partitions.open(partitions.assigned([0]), committedAt(3, 0));
  t.equal(partitions.owned(0), progress);
  t.ok(progress.tracker.valid && fetched.has(progress.buffer));
});

await test('a lost partition begins anew when others got further', async (t) => {
  const { partitions } = memberPartitions();
  const progress = openWithOneInFlight(partitions, 3);
  partitions.lost();
  partitions.open(partitions.assigned([0]), committedAt(10, 0));
  t.notOk(progress.tracker.valid);
  t.equal(partitions.owned(0)?.buffer.offset, 10);
  t.equal(partitions.owned(0)?.tracker.pending, 0);
});

await test('a lost partition that others are given is forgotten', async (t) => {
  const { partitions } = memberPartitions();
  const { tracker } = openWithOneInFlight(partitions, 3);
  partitions.lost();
  partitions.assigned([1]);
  t.notOk(tracker.valid);
  t.equal(partitions.progressOf(0), null);
});

await test('what was in flight outlives a loss and a release while the offset is asked for', async (t) => {
  const { partitions } = memberPartitions();
  const progress = openWithOneInFlight(partitions, 3);
  partitions.lost();
  partitions.assigned([0]);
  partitions.lost();
  t.equal(partitions.progressOf(0), progress);
  partitions.assigned([0]);
  await partitions.release([0]);
  t.equal(partitions.progressOf(0), progress);
  partitions.open(partitions.assigned([0]), committedAt(3, 0));
  t.equal(partitions.owned(0), progress);
});

await test('release ends when the partition is lost, and when the member leaves', async (t) => {
  for (const end of ['lost', 'endReleases', 'close'] as const) {
    const { partitions } = memberPartitions();
    openWithOneInFlight(partitions, 3);
    const released = partitions.release([0]);
    t.notOk(await isSettled(released));
    partitions[end]();
    t.ok(await isSettled(released), end);
  }
});
