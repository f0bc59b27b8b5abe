import type { Delivery, PartitionReader } from '../../src/bus/bus.ts';
import { partitionOf } from '../../src/core/bus/partitions.ts';
import { until } from '../support/until.ts';
import { idsOf, insist, pendingOf, recordsOf, WAIT_MS, type BusCase } from './harness.ts';

async function readUntil(reader: PartitionReader, count: number, limit = 100): Promise<Delivery[]> {
  const all: Delivery[] = [];
  await until(
    `${count} records`,
    async () => {
      all.push(...(await insist(() => reader.next(limit, WAIT_MS))));
      return all.length >= count;
    },
    { pollMs: 0, progress: () => all.length, context: () => `${all.length} so far` },
  );
  return all;
}

/** Partitions that one role owns. */
export const partitionCases: BusCase[] = [
  {
    name: 'a partition is read in order, from the beginning and from a position, without a hole',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      const positions = await bus.publish(topic, recordsOf('A', 300));
      const whole = await bus.openPartition({ topic, group: 'g', member: 'm', partition: 0, after: null });
      const all = await readUntil(whole, 300, 70);
      t.same(idsOf(all), idsOf(recordsOf('A', 300)));
      t.ok(all.every(({ attempts }) => attempts >= 1));
      await whole.close();
      const rest = await bus.openPartition({
        topic,
        group: 'g',
        member: 'm2',
        partition: 0,
        after: positions[99],
      });
      t.same(idsOf(await readUntil(rest, 200, 1000)), idsOf(recordsOf('A', 200, 100)));
      t.same(await rest.next(10, 0), []);
      t.same(await rest.next(10, 50), []);
      const waiting = readUntil(rest, 5);
      await bus.publish(topic, recordsOf('A', 5, 300));
      t.same(idsOf(await waiting), idsOf(recordsOf('A', 5, 300)), 'new ones come while it waits');
      await rest.close();
    },
  },
  {
    name: 'one partition of several holds its keys alone',
    async run(t, harness) {
      const topic = harness.topic(3);
      const bus = await harness.bus();
      const keys = ['SPY', 'AAPL', 'MSFT', 'QQQ', 'TSLA', 'GLD'];
      await bus.publish(
        topic,
        keys.flatMap((key) => recordsOf(key, 20)),
      );
      const counts = [0, 1, 2].map((partition) => keys.filter((key) => partitionOf(key, 3) === partition));
      for (const [partition, expected] of counts.entries()) {
        const reader = await bus.openPartition({ topic, group: 'g', member: 'm', partition, after: null });
        const all = await readUntil(reader, expected.length * 20);
        t.equal(all.length, expected.length * 20);
        t.ok(all.every((delivery) => delivery.partition === partition));
        for (const key of expected) {
          t.same(
            idsOf(all).filter((id) => id.startsWith(`${key}|`)),
            idsOf(recordsOf(key, 20)),
          );
        }
        await reader.close();
      }
    },
  },
  {
    name: 'release() shows as acknowledged and lets trimming pass; nothing else does',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      const positions = await bus.publish(topic, recordsOf('A', 100));
      const reader = await bus.openPartition({ topic, group: 'g', member: 'm', partition: 0, after: null });
      await readUntil(reader, 100);
      await bus.trim(topic, { acknowledgedMs: 0, retentionMs: 0 });
      t.equal((await bus.read(topic, 0, null, 1))[0]?.eventId, 'A|0', 'read is not released');
      await reader.release(positions[59]);
      await until('it shows', async () => {
        const [info] = await bus.groups(topic);
        const acknowledged = info?.acknowledged ?? null;
        return acknowledged !== null && bus.compare(acknowledged, positions[59]) === 0;
      });
      await reader.release(positions[39]);
      const [info] = await bus.groups(topic);
      t.equal(bus.compare(info?.acknowledged ?? '', positions[59]), 0, 'it never goes back');
      const removed = await bus.trim(topic, { acknowledgedMs: 0, retentionMs: 0 });
      const [first] = await bus.read(topic, 0, null, 1);
      t.ok(bus.compare(first?.position ?? '', positions[60]) <= 0, 'what is not released is there');
      if (harness.server.trimsExactly) {
        t.equal(first?.eventId, 'A|60');
        t.equal(removed, 60);
      }
      await reader.close();
      const next = await bus.openPartition({
        topic,
        group: 'g',
        member: 'm2',
        partition: 0,
        after: positions[59],
      });
      t.same(idsOf(await readUntil(next, 40)), idsOf(recordsOf('A', 40, 60)));
      await next.release(positions[99]);
      await until('no lag', async () => {
        const [info] = await bus.groups(topic);
        return info !== undefined && info.lagMs === 0 && (info.lag ?? 0) === 0;
      });
      t.equal(await pendingOf(bus, topic, 'g'), 0);
      await next.close();
    },
  },
  {
    name: 'an owned partition is read without a hole across a crash of the server',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      const publisher = await harness.bus();
      await insist(() => publisher.publish(topic, recordsOf('A', 200)));
      const reader = await bus.openPartition({ topic, group: 'g', member: 'm', partition: 0, after: null });
      const before = await readUntil(reader, 100, 50);
      await harness.server.crash();
      await insist(() => publisher.publish(topic, recordsOf('A', 100, 200)));
      const after = await readUntil(reader, 300 - before.length);
      const all = [...before, ...after];
      t.same([...new Set(idsOf(all))], idsOf(recordsOf('A', 300)));
      for (const [at, { position }] of all.entries()) {
        if (at > 0) t.ok(bus.compare(all[at - 1].position, position) < 0, 'forward only');
      }
      await reader.close();
    },
  },
  {
    name: 'two readers of one partition (an owner that was replaced) take nothing from each other',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      const other = await harness.bus();
      await bus.publish(topic, recordsOf('A', 100));
      const options = { topic, group: 'g', partition: 0 };
      const old = await bus.openPartition({ ...options, member: 'old', after: null });
      const first = await readUntil(old, 10, 10);
      const fresh = await other.openPartition({
        ...options,
        member: 'fresh',
        after: first.at(-1)!.position,
      });
      const [mine, theirs] = await Promise.all([readUntil(fresh, 90), readUntil(old, 90)]);
      t.same(idsOf(mine), idsOf(recordsOf('A', 90, first.length)));
      t.ok(theirs.length >= 90);
      await old.close();
      await fresh.close();
    },
  },
];
