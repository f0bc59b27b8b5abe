import { randomBytes } from 'node:crypto';
import type { Delivery, StreamBus } from '../../src/bus/bus.ts';
import { ShareTrimmer } from '../../src/bus/share-trimmer.ts';
import { testEnv } from '../support/bus/env.ts';
import { until } from '../support/until.ts';
import { collect, idsOf, recordsOf, sorted, type BusCase } from './harness.ts';

const HOUR_MS = 3_600_000;
/** what the service trims by while there is room */
const POLICY = { acknowledgedMs: 600_000, retentionMs: 24 * HOUR_MS };

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
    name: 'times that a stranger set say nothing: what nobody has read stays, and what everybody has read goes',
    async run(t, harness) {
      const topic = harness.topic();
      const { server } = harness;
      const nowMs = Date.now();
      const claimed = [1, Math.floor(nowMs / 1000), nowMs - 25 * HOUR_MS, nowMs];
      // brokers refuse times that lie ahead
      if (server.kind !== 'kafka') claimed.push(nowMs + 1000 * HOUR_MS, nowMs * 1_000);
      for (const ms of claimed) await server.foreignAt(topic, JSON.stringify({ ms }), ms);
      const bus = await harness.bus();
      for (let look = 0; look < 3; look += 1) t.equal(await bus.trim(topic, POLICY), 0, 'no group yet');
      t.equal(await countOf(bus, topic), claimed.length);
      const member = await bus.join({ topic, group: 'g', member: 'm' });
      const all: Delivery[] = [];
      await until('all of them', async () => {
        all.push(...(await member.next(100, 500)));
        return all.length === claimed.length;
      });
      t.same(
        all.map(({ data }) => (JSON.parse(Buffer.from(data ?? []).toString()) as { ms: number }).ms),
        claimed,
      );
      if (server.kind !== 'postgres') {
        // there it is the clock of the server
        const apart = all.map(({ takenMs }) => Math.abs(takenMs - nowMs));
        t.ok(
          apart.every((ms) => ms <= 24 * HOUR_MS),
          `taken at about this time: ${apart.join()}`,
        );
        t.ok((await member.lagMs()) < HOUR_MS, 'and waiting since then');
      }
      t.equal(await bus.trim(topic, POLICY), 0, 'in flight');
      await member.acknowledge(all);
      t.equal(await bus.trim(topic, POLICY), 0, 'acknowledged just now');
      await until('old enough', async () => {
        await bus.trim(topic, { acknowledgedMs: 200, retentionMs: HOUR_MS });
        return (await countOf(bus, topic)) === 0;
      });
    },
  },
  {
    name: 'remove() takes what lies up to a position, however young, and nothing that a group needs',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      const positions = await bus.publish(topic, recordsOf('A', 20));
      t.equal(await bus.remove(topic, 0, positions[4]), 5);
      t.same(idsOf(await bus.read(topic, 0, null, 100)), idsOf(recordsOf('A', 15, 5)));
      t.equal(await bus.remove(topic, 0, positions[3]), 0, 'gone before');
      const member = await bus.join({ topic, group: 'g', member: 'm' });
      const { all } = await collect(member, (ids) => ids.size === 15, { acknowledge: false });
      await member.acknowledge(all.slice(0, 3));
      await until('what is acknowledged goes', async () => {
        await bus.remove(topic, 0, positions[19]);
        return (await countOf(bus, topic)) === 12;
      });
      t.same(idsOf(await bus.read(topic, 0, null, 100)), idsOf(recordsOf('A', 12, 8)));
      await member.acknowledge(all);
      await until('all of it', async () => {
        await bus.remove(topic, 0, positions[19]);
        return (await countOf(bus, topic)) === 0;
      });
    },
  },
  {
    name: 'dead letters beyond their share go, the oldest first, and without a group',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus({ maxBytes: 100_000_000 });
      const data = new Uint8Array(randomBytes(500_000));
      const letters = Array.from({ length: 20 }, (_, at) => ({
        key: 'A',
        eventId: `e${at}`,
        data,
        encoding: 'json' as const,
      }));
      await bus.publish(topic, letters);
      const logged: string[] = [];
      const share = { ageMs: HOUR_MS, acknowledgedMs: HOUR_MS, share: 0.06 };
      const trimmer = new ShareTrimmer(
        bus,
        { topic, records: 'Dead letters', level: 'error', ...share },
        testEnv({ log: (_level, message) => logged.push(message) }),
      );
      const left = async (): Promise<string[]> => idsOf(await bus.read(topic, 0, null, 100));
      t.equal(await trimmer.trim({ ...(await bus.usage()), maxBytes: 1e9 }), 0, 'within their share');
      // 10 MB are there, 6 MB are theirs
      await until('they are within it', async () => {
        const usage = await bus.usage();
        await trimmer.trim(usage);
        return ((await bus.usage()).topics.get(topic) ?? 0) <= 6_000_000;
      });
      const stay = await left();
      t.ok(stay.length >= 6 && stay.length <= 12, `${stay.length} stay`);
      t.same(stay, idsOf(letters).slice(-stay.length), 'the newest');
      t.equal(trimmer.removed, 20 - stay.length);
      t.equal(logged.length, 1);
      t.equal(await trimmer.trim(await bus.usage()), 0);
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
