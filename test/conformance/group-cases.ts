import { setTimeout as delay } from 'node:timers/promises';
import { WeakCrowd } from '../support/garbage.ts';
import { until } from '../support/until.ts';
import {
  collect,
  idsOf,
  pendingOf,
  record,
  recordsOf,
  sorted,
  TAKEOVER_MS,
  WAIT_MS,
  type BusCase,
} from './harness.ts';
import type { Delivery } from '../../src/bus/bus.ts';

/** Groups whose members share all partitions. */
export const groupCases: BusCase[] = [
  {
    name: 'order per key with several publishers of different keys',
    async run(t, harness) {
      const topic = harness.topic();
      const keys = ['A', 'B', 'C'];
      const publishers = await Promise.all(keys.map(() => harness.bus()));
      const consumer = await harness.bus();
      const member = await consumer.join({ topic, group: 'g', member: 'm' });
      const publishing = keys.map(async (key, at) => {
        for (let batch = 0; batch < 20; batch++) {
          await publishers[at].publish(topic, recordsOf(key, 25, batch * 25));
        }
      });
      const collecting = collect(member, (ids) => ids.size === 1500);
      await Promise.all(publishing);
      const { ids } = await collecting;
      for (const key of keys) {
        t.same(
          ids.filter((id) => id.startsWith(`${key}|`)),
          idsOf(recordsOf(key, 500)),
          `${key} in order`,
        );
      }
    },
  },
  {
    name: 'a new group begins at the beginning, and every group gets everything',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      await bus.publish(topic, recordsOf('A', 100));
      for (const group of ['one', 'two']) {
        const member = await bus.join({ topic, group, member: 'm' });
        const { ids } = await collect(member, (seen) => seen.size === 100);
        t.same(ids, idsOf(recordsOf('A', 100)), group);
        await member.leave();
      }
    },
  },
  {
    name: 'two members share: nothing is lost, nothing pending is left, in quiet running each comes once',
    async run(t, harness) {
      const topic = harness.topic(2);
      const bus = await harness.bus();
      const other = await harness.bus();
      const members = await Promise.all([
        bus.join({ topic, group: 'g', member: 'm1' }),
        other.join({ topic, group: 'g', member: 'm2' }),
      ]);
      // what members do to find each other is over once both have asked
      await Promise.all(members.map((member) => member.next(1, WAIT_MS)));
      const records = ['A', 'B', 'C', 'D'].flatMap((key) => recordsOf(key, 500));
      const seen: Delivery[] = [];
      const ids = new Set<string>();
      const consuming = members.map((member) =>
        until(
          'all of them',
          async () => {
            const batch = await member.next(100, 200);
            seen.push(...batch);
            for (const id of idsOf(batch)) ids.add(id);
            await member.acknowledge(batch);
            return ids.size === records.length;
          },
          { pollMs: 0, progress: () => ids.size },
        ),
      );
      await bus.publish(topic, records);
      await Promise.all(consuming);
      t.same(idsOf(seen).sort(), idsOf(records).sort(), 'each exactly once');
      await until('pending 0', async () => (await pendingOf(bus, topic, 'g')) === 0);
      t.same(await members[0].next(10, 0), []);
    },
  },
  {
    name: 'what was not acknowledged comes again to the restarted member, before anything new',
    async run(t, harness) {
      const topic = harness.topic();
      const publisher = await harness.bus();
      await publisher.publish(topic, recordsOf('A', 50));
      const held = await harness.holder({ topic, group: 'g', member: 'm', count: 30 });
      t.same(
        held.taken.map(({ eventId }) => eventId),
        idsOf(recordsOf('A', 30)),
      );
      await held.kill();
      const bus = await harness.bus();
      const member = await bus.join({ topic, group: 'g', member: 'm', takeoverMs: TAKEOVER_MS });
      const { ids } = await collect(member, (seen) => seen.size === 50);
      t.same(ids, idsOf(recordsOf('A', 50)));
      await until('pending 0', async () => (await pendingOf(bus, topic, 'g')) === 0);
    },
  },
  {
    name: 'acknowledged ones do not come again; twice is once',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      await bus.publish(topic, recordsOf('A', 20));
      const member = await bus.join({ topic, group: 'g', member: 'm' });
      const { all } = await collect(member, (ids) => ids.size === 10, { limit: 10 });
      await member.acknowledge(all);
      await member.acknowledge([]);
      await member.leave();
      const again = await harness.bus();
      const restarted = await again.join({ topic, group: 'g', member: 'm' });
      const { ids } = await collect(restarted, (seen) => seen.has('A|19'));
      t.same(ids, idsOf(recordsOf('A', 10, 10)));
    },
  },
  {
    name: 'a living member takes over the 500 records of a dead one',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      await bus.publish(topic, recordsOf('A', 600));
      const dead = await harness.holder({ topic, group: 'g', member: 'dead', count: 500 });
      await dead.kill();
      const member = await bus.join({ topic, group: 'g', member: 'alive', takeoverMs: TAKEOVER_MS });
      const { ids } = await collect(member, (seen) => seen.size === 600, { limit: 200 });
      t.same(sorted(ids), sorted(idsOf(recordsOf('A', 600))));
      await until('pending 0', async () => (await pendingOf(bus, topic, 'g')) === 0);
    },
  },
  {
    name: 'a slow but living member keeps what it has',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      const slow = await bus.join({ topic, group: 'g', member: 'slow', takeoverMs: TAKEOVER_MS });
      await bus.publish(topic, recordsOf('A', 10));
      const { all } = await collect(slow, (ids) => ids.size === 10, { acknowledge: false });
      const other = await harness.bus();
      const busy = await other.join({ topic, group: 'g', member: 'busy', takeoverMs: TAKEOVER_MS });
      const robbed: string[] = [];
      const endMs = Date.now() + TAKEOVER_MS * 3;
      while (Date.now() < endMs) robbed.push(...idsOf(await busy.next(100, 200)));
      t.same(robbed, [], 'nobody took them');
      await slow.acknowledge(all);
      await until('pending 0', async () => (await pendingOf(bus, topic, 'g')) === 0);
    },
  },
  {
    name: 'leave() gives back what is in hand, without the wait for a takeover',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      const other = await harness.bus();
      await bus.publish(topic, recordsOf('A', 40));
      const leaving = await bus.join({ topic, group: 'g', member: 'leaving', takeoverMs: 3_600_000 });
      const { all } = await collect(leaving, (ids) => ids.size === 40, { acknowledge: false });
      await leaving.acknowledge(all.slice(0, 10));
      const staying = await other.join({ topic, group: 'g', member: 'staying', takeoverMs: 3_600_000 });
      await leaving.leave();
      const { ids } = await collect(staying, (seen) => seen.size === 30);
      t.same(sorted(ids), sorted(idsOf(recordsOf('A', 30, 10))));
      await until('pending 0', async () => (await pendingOf(bus, topic, 'g')) === 0);
    },
  },
  {
    name: 'a record that kills its members shows by its attempts',
    async run(t, harness) {
      const topic = harness.topic();
      const publisher = await harness.bus();
      await publisher.publish(topic, [record('POISON', 0)]);
      const counts: number[] = [];
      for (const member of ['m1', 'm2', 'm1', 'm3']) {
        const victim = await harness.holder({ topic, group: 'g', member, count: 1 });
        counts.push(victim.taken[0].attempts);
        await victim.kill();
      }
      t.same(counts, [1, 2, 3, 4]);
    },
  },
  {
    name: 'a member that does not ask holds only what it asked for',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      const member = await bus.join({ topic, group: 'g', member: 'm' });
      await bus.publish(topic, recordsOf('A', 1000));
      const { all } = await collect(member, (ids) => ids.size >= 10, { limit: 10, acknowledge: false });
      t.ok(all.length < 20);
      // it has all the time in the world to hoard more
      await bus.publish(topic, recordsOf('A', 1000, 1000));
      await delay(300);
      t.equal(await pendingOf(bus, topic, 'g'), all.length);
      await member.acknowledge(all);
      const { ids } = await collect(member, (seen) => seen.size === 2000, { into: all });
      t.same(ids, idsOf(recordsOf('A', 2000)), 'and what it did not ask for came when it did');
    },
  },
  {
    name: 'what a member acknowledged is let go: its memory does not grow with what went through it',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      const batches = 40;
      await bus.publish(topic, recordsOf('A', batches * 25));
      const member = await bus.join({ topic, group: 'g', member: 'm' });
      const handedOut = new WeakCrowd();
      for (let taken = 0; taken < batches * 25;) {
        const batch = await member.next(25, WAIT_MS);
        for (const { data } of batch) handedOut.add(data ?? batch);
        taken += batch.length;
        await member.acknowledge(batch);
      }
      // the batch before may still be known to whoever waits for the next one
      t.equal(await member.next(25, 0).then(({ length }) => length), 0);
      const left = await handedOut.alive();
      t.ok(left <= 50, `the bytes of ${left} of ${handedOut.size} records are still in memory`);
    },
  },
  {
    name: 'groups() tells pending, lag and age; lagMs() is 0 when there is nothing left',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      const member = await bus.join({ topic, group: 'g', member: 'm' });
      t.equal(await member.lagMs(), 0, 'nothing there');
      const positions = await bus.publish(topic, recordsOf('A', 30));
      await until('it grows older', async () => (await member.lagMs()) >= 100);
      const { all } = await collect(member, (ids) => ids.size === 20, { limit: 20, acknowledge: false });
      await until('pending 20, lag 10', async () => {
        const [info] = await bus.groups(topic);
        return info?.pending === 20 && info.lag === 10 && info.lagMs >= 100 && info.members === 1;
      });
      await member.acknowledge(all.slice(0, 5));
      await until('pending 15', async () => {
        const [info] = await bus.groups(topic);
        const acknowledged = info?.acknowledged ?? null;
        return info?.pending === 15 && acknowledged !== null && bus.compare(acknowledged, positions[5]) < 0;
      });
      await member.acknowledge(all);
      await collect(member, (ids) => ids.size === 30, { into: all });
      await until('nothing left', async () => {
        const [info] = await bus.groups(topic);
        return info?.pending === 0 && (info.lag ?? 0) === 0 && info.lagMs === 0;
      });
      t.equal(await member.lagMs(), 0);
      const [info] = await bus.groups(topic);
      t.equal(bus.compare(info?.acknowledged ?? '', positions[29]), 0, 'all of it is acknowledged');
      t.match(info, { topic, group: 'g', partition: 0 });
    },
  },
  {
    name: 'a group that was dropped goes on where it was',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      const positions = await bus.publish(topic, recordsOf('A', 50));
      const member = await bus.join({ topic, group: 'g', member: 'm' });
      const { all } = await collect(member, (ids) => ids.size === 30, { limit: 30, acknowledge: false });
      await member.acknowledge(all);
      await until('the checkpoint is written', async () => {
        await member.next(0, 0);
        const checkpoint = await harness.checkpoints.position(topic, 'g', 0);
        return checkpoint !== null && bus.compare(checkpoint, positions[29]) === 0;
      });
      await member.leave();
      t.equal(await bus.dropGroup(topic, 'g'), true);
      t.equal(await bus.dropGroup(topic, 'g'), false);
      t.same(
        (await bus.groups(topic)).filter(({ group }) => group === 'g'),
        [],
      );
      const again = await bus.join({ topic, group: 'g', member: 'm2' });
      const { ids } = await collect(again, (seen) => seen.size === 20);
      t.same(ids, idsOf(recordsOf('A', 20, 30)));
    },
  },
];
