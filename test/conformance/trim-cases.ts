import type { StreamBus } from '../../src/bus/bus.ts';
import { until } from '../support/until.ts';
import { collect, idsOf, recordsOf, sorted, type BusCase } from './harness.ts';

const HOUR_MS = 3_600_000;

async function countOf(bus: StreamBus, topic: string): Promise<number> {
  return (await bus.read(topic, 0, null, 10_000)).length;
}

/** What may go, and what may never. */
export const trimCases: BusCase[] = [
  {
    name: 'trim() never passes the slowest group',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      await bus.publish(topic, recordsOf('A', 100));
      const fast = await bus.join({ topic, group: 'fast', member: 'm' });
      const slow = await bus.join({ topic, group: 'slow', member: 'm' });
      await collect(fast, (ids) => ids.size === 100);
      const { all } = await collect(slow, (ids) => ids.size === 30, { limit: 30, acknowledge: false });
      await slow.acknowledge(all.slice(0, 10));
      await slow.acknowledge(all.slice(20));
      const removed = await bus.trim(topic, { acknowledgedMs: 0, retentionMs: 0 });
      const [first] = await bus.read(topic, 0, null, 1);
      const firstNeeded = all[10];
      t.ok(bus.compare(first?.position ?? '', firstNeeded.position) <= 0, 'the pending ones are there');
      if (harness.server.trimsExactly) {
        t.equal(removed, 10);
        t.equal(first?.eventId, firstNeeded.eventId);
      }
      await slow.acknowledge(all);
      const { ids } = await collect(slow, (seen) => seen.has('A|99'));
      t.same(sorted(ids), sorted(idsOf(recordsOf('A', 70, 30))), 'the slow group lost nothing');
      await bus.trim(topic, { acknowledgedMs: 0, retentionMs: 0 });
      if (harness.server.trimsExactly) t.equal(await countOf(bus, topic), 0, 'nobody needs anything');
      await bus.publish(topic, recordsOf('A', 5, 100));
      t.same((await collect(fast, (seen) => seen.size === 5)).ids, idsOf(recordsOf('A', 5, 100)));
    },
  },
  {
    name: 'acknowledged records stay as long as the policy says',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      await bus.publish(topic, recordsOf('A', 50));
      const member = await bus.join({ topic, group: 'g', member: 'm' });
      await collect(member, (ids) => ids.size === 50);
      t.equal(await bus.trim(topic, { acknowledgedMs: HOUR_MS, retentionMs: 0 }), 0);
      t.equal(await countOf(bus, topic), 50);
      if (!harness.server.trimsExactly) return;
      await until('older than 200 ms', async () => {
        await bus.trim(topic, { acknowledgedMs: 200, retentionMs: HOUR_MS });
        return (await countOf(bus, topic)) === 0;
      });
    },
  },
  {
    name: 'a topic without groups keeps its records for the retention',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      await bus.publish(topic, recordsOf('A', 50));
      t.equal(await bus.trim(topic, { acknowledgedMs: 0, retentionMs: HOUR_MS }), 0);
      t.equal(await countOf(bus, topic), 50);
      if (!harness.server.trimsExactly) return;
      await until('older than 200 ms', async () => {
        await bus.trim(topic, { acknowledgedMs: HOUR_MS, retentionMs: 200 });
        return (await countOf(bus, topic)) === 0;
      });
      const [position] = await bus.publish(topic, recordsOf('A', 1, 50));
      t.equal(await bus.end(topic, 0), position);
    },
  },
  {
    name: 'trimming a topic that is not there does nothing',
    async run(t, harness) {
      const topic = harness.topic(2);
      const bus = await harness.bus();
      t.equal(await bus.trim(topic, { acknowledgedMs: 0, retentionMs: 0 }), 0);
      t.same(await bus.groups(topic), []);
    },
  },
  {
    name: 'end() and lag stay true when everything was trimmed',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      const positions = await bus.publish(topic, recordsOf('A', 20));
      const member = await bus.join({ topic, group: 'g', member: 'm' });
      await collect(member, (ids) => ids.size === 20);
      await bus.trim(topic, { acknowledgedMs: 0, retentionMs: 0 });
      t.equal(await bus.end(topic, 0), positions[19]);
      t.equal(await member.lagMs(), 0);
      await bus.publish(topic, recordsOf('A', 3, 20));
      await until('lag 3', async () => (await bus.groups(topic))[0]?.lag === 3);
      t.same((await collect(member, (ids) => ids.size === 3)).ids, idsOf(recordsOf('A', 3, 20)));
    },
  },
  {
    name: 'a position whose record was trimmed is gone on from with the first one that is there',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      const positions = await bus.publish(topic, recordsOf('A', 50));
      const member = await bus.join({ topic, group: 'g', member: 'm' });
      await collect(member, (ids) => ids.size === 50);
      await bus.trim(topic, { acknowledgedMs: 0, retentionMs: 0 });
      await bus.publish(topic, recordsOf('A', 10, 50));
      const last = idsOf(recordsOf('A', 10, 50));
      for (const after of [null, positions[10], positions[49]]) {
        const options = { topic, group: 'owner', member: 'm', partition: 0, after };
        const reader = await bus.openPartition(options);
        const seen = await until('the newest', async () => {
          const batch = await reader.next(1000, 500);
          return batch.some(({ eventId }) => eventId === 'A|59') && batch;
        });
        t.same(idsOf(seen).slice(-10), last, `after ${after}`);
        await reader.close();
        t.same(idsOf(await bus.read(topic, 0, after, 1000)).slice(-10), last);
      }
    },
  },
];
