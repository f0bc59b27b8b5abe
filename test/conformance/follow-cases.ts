import { TrimmedError, type BusFollower, type Delivery, type StreamBus } from '../../src/bus/bus.ts';
import { partitionOf } from '../../src/core/bus/partitions.ts';
import { until } from '../support/until.ts';
import { idsOf, insist, recordsOf, WAIT_MS, type BusCase } from './harness.ts';

async function followUntil(follower: BusFollower, count: number, limit = 100): Promise<Delivery[]> {
  const all: Delivery[] = [];
  await until(
    `${count} records`,
    async () => {
      all.push(...(await insist(() => follower.next(limit, WAIT_MS))));
      return all.length >= count;
    },
    { pollMs: 0, progress: () => all.length, context: () => `${all.length} so far` },
  );
  return all;
}

/** What the next call says was lost. */
async function lossOf(follower: BusFollower): Promise<TrimmedError | null> {
  try {
    await follower.next(10, WAIT_MS);
    return null;
  } catch (error) {
    if (error instanceof TrimmedError) return error;
    throw error;
  }
}

/** Trims everything up to a position, as nobody needs it. */
async function trimmed(bus: StreamBus, topic: string, upTo: string): Promise<void> {
  await bus.remove(topic, 0, upTo);
}

/** Followers: partitions read without a group. */
export const followCases: BusCase[] = [
  {
    name: 'a follower reads in order from a position, and what comes while it waits, and makes no group',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      const positions = await bus.publish(topic, recordsOf('A', 300));
      const whole = await bus.follow(topic, 0, null);
      t.same(idsOf(await followUntil(whole, 300, 70)), idsOf(recordsOf('A', 300)));
      t.same(await whole.next(10, 0), []);
      const rest = await bus.follow(topic, 0, positions[99]);
      t.same(idsOf(await followUntil(rest, 200, 1000)), idsOf(recordsOf('A', 200, 100)));
      const waiting = Promise.all([followUntil(whole, 5), followUntil(rest, 5)]);
      await bus.publish(topic, recordsOf('A', 5, 300));
      for (const found of await waiting) t.same(idsOf(found), idsOf(recordsOf('A', 5, 300)));
      t.same(await bus.groups(topic), []);
      await Promise.all([whole.close(), rest.close()]);
      await t.rejects(rest.next(10, 0));
    },
  },
  {
    name: 'a follower begins before the first record, and has the keys of its partition alone',
    async run(t, harness) {
      const topic = harness.topic(2);
      const bus = await harness.bus();
      const followers = await Promise.all([0, 1].map((partition) => bus.follow(topic, partition, null)));
      t.same(await followers[0].next(10, 0), []);
      const keys = ['SPY', 'AAPL', 'MSFT', 'QQQ', 'TSLA', 'GLD'];
      await bus.publish(
        topic,
        keys.flatMap((key) => recordsOf(key, 20)),
      );
      for (const [partition, follower] of followers.entries()) {
        const own = keys.filter((key) => partitionOf(key, 2) === partition);
        const found = await followUntil(follower, own.length * 20);
        t.equal(found.length, own.length * 20);
        for (const key of own)
          t.same(
            idsOf(found).filter((id) => id.startsWith(`${key}|`)),
            idsOf(recordsOf(key, 20)),
          );
        await follower.close();
      }
    },
  },
  {
    name: 'a follower is told what was trimmed before it read it, once, and goes on behind',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      const positions = await bus.publish(topic, recordsOf('A', 100));
      const reading = await bus.follow(topic, 0, null);
      t.equal((await followUntil(reading, 10, 10)).length, 10);
      const behind = await bus.follow(topic, 0, positions[59]);
      const early = await bus.follow(topic, 0, positions[0]);
      await trimmed(bus, topic, positions[59]);
      const [first] = await bus.read(topic, 0, null, 1);
      if (harness.server.trimsExactly) t.equal(first?.eventId, 'A|60');
      t.equal((await lossOf(early))?.first, first?.position, 'it says where it goes on');
      const rest = await followUntil(early, 40);
      t.equal(rest.at(-1)?.eventId, 'A|99');
      t.equal(rest[0]?.position, first?.position);
      // one that reads ahead (kafka) may have them all
      let hasHole = false;
      const seen = ['A|9'];
      await until('the last one', async () => {
        try {
          seen.push(...idsOf(await reading.next(100, WAIT_MS)));
        } catch (error) {
          if (!(error instanceof TrimmedError)) throw error;
          hasHole = true;
        }
        return seen.at(-1) === 'A|99';
      });
      if (!hasHole) t.same(seen, idsOf(recordsOf('A', 91, 9)), 'a hole is told');
      t.same(
        idsOf(await followUntil(behind, 40)),
        idsOf(recordsOf('A', 40, 60)),
        'up to its position is no loss',
      );
      await Promise.all([reading, early, behind].map((follower) => follower.close()));
    },
  },
  {
    name: 'a follower of a log that is trimmed to its end goes on with the next record',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      const positions = await bus.publish(topic, recordsOf('A', 20));
      const atEnd = await bus.follow(topic, 0, positions[19]);
      const before = await bus.follow(topic, 0, positions[9]);
      await trimmed(bus, topic, positions[19]);
      if (!harness.server.trimsExactly) return;
      t.same(await atEnd.next(10, 50), [], 'nothing is lost for it');
      t.ok((await lossOf(before)) instanceof TrimmedError);
      await bus.publish(topic, recordsOf('A', 5, 20));
      for (const follower of [atEnd, before])
        t.same(idsOf(await followUntil(follower, 5)), idsOf(recordsOf('A', 5, 20)));
      await Promise.all([atEnd.close(), before.close()]);
    },
  },
  {
    name: 'a follower goes on without a hole across a crash of the server and cut connections',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      await bus.publish(topic, recordsOf('A', 50));
      const follower = await bus.follow(topic, 0, null);
      t.equal((await followUntil(follower, 50)).length, 50);
      await harness.server.cutConnections();
      await insist(() => bus.publish(topic, recordsOf('A', 50, 50)));
      const after = await followUntil(follower, 50);
      t.same([...new Set(idsOf(after))], idsOf(recordsOf('A', 50, 50)));
      await harness.server.crash();
      await insist(() => bus.publish(topic, recordsOf('A', 50, 100)));
      const last: Delivery[] = [];
      await until('the last one', async () => {
        last.push(...(await insist(() => follower.next(100, WAIT_MS))));
        return last.at(-1)?.eventId === 'A|149';
      });
      t.same([...new Set(idsOf(last))].slice(-50), idsOf(recordsOf('A', 50, 100)));
      await follower.close();
    },
  },
];
