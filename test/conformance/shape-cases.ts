import { randomBytes } from 'node:crypto';
import { partitionOf } from '../../src/core/bus/partitions.ts';
import { until } from '../support/until.ts';
import { collect, idsOf, record, recordsOf, WAIT_MS, type BusCase } from './harness.ts';

const bytesOf = (data: Uint8Array | null): string => Buffer.from(data ?? []).toString('hex');

/** What goes in comes out: bytes, encodings, positions, topics. */
export const shapeCases: BusCase[] = [
  {
    name: 'a record comes out as it went in',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      const before = Date.now();
      const [position] = await bus.publish(topic, [record('SPY', 1)]);
      const member = await bus.join({ topic, group: 'g', member: 'm' });
      const { all } = await collect(member, (ids) => ids.size === 1);
      const [delivery] = all;
      t.match(delivery, { topic, partition: 0, position, eventId: 'SPY|1', encoding: 'json', attempts: 1 });
      t.ok(delivery?.key === null || delivery?.key === 'SPY', 'the key, where the bus keeps it');
      t.equal(bytesOf(delivery?.data ?? null), bytesOf(record('SPY', 1).data));
      const taken = delivery?.takenMs ?? 0;
      t.ok(taken > before - 5000 && taken < Date.now() + 5000, 'taken when it was published');
    },
  },
  {
    name: 'every byte survives: nothing at all, all 256 values, msgpack, one megabyte',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      const bodies = [
        { data: new Uint8Array(0), encoding: 'json' as const },
        { data: Uint8Array.from({ length: 256 }, (_, at) => at), encoding: 'msgpack' as const },
        { data: Uint8Array.from([0x80]), encoding: 'msgpack' as const },
        { data: new Uint8Array(randomBytes(1_000_000)), encoding: 'json' as const },
      ];
      await bus.publish(
        topic,
        bodies.map((body, at) => ({ key: 'A', eventId: `e${at}`, ...body })),
      );
      const member = await bus.join({ topic, group: 'g', member: 'm' });
      const { all } = await collect(member, (ids) => ids.size === bodies.length);
      for (const [at, { data, encoding }] of bodies.entries()) {
        const delivery = all[at];
        t.equal(delivery?.eventId, `e${at}`);
        t.equal(delivery?.encoding, encoding);
        t.ok(Buffer.from(data).equals(delivery?.data ?? Buffer.from('lost')), `${data.length} bytes`);
      }
      t.match(idsOf(await bus.read(topic, 0, null, 10)), ['e0', 'e1', 'e2', 'e3'], 'read() sees the same');
    },
  },
  {
    name: 'an eventId that is absent stays absent; odd characters stay',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      const odd = 'ibkr|SPY|"\'{}\\|é|\u{1f600}';
      await bus.publish(topic, [
        { ...record('A', 1), eventId: null },
        { ...record('A', 2), eventId: odd },
      ]);
      const deliveries = await bus.read(topic, 0, null, 10);
      t.same(
        deliveries.map(({ eventId }) => eventId),
        [null, odd],
      );
    },
  },
  {
    name: 'what a foreign program put there is handed out',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      await bus.publish(topic, recordsOf('A', 2));
      const text = '{"provider":"x","symbol":"SPY","price":1}';
      await harness.server.foreign(topic, 'SPY', text);
      await bus.publish(topic, recordsOf('A', 1, 2));
      const member = await bus.join({ topic, group: 'g', member: 'm' });
      const { all } = await collect(member, (ids) => ids.size === 4);
      const foreign = all.find(({ eventId }) => eventId === null);
      t.equal(Buffer.from(foreign?.data ?? []).toString(), text);
      t.equal(foreign?.encoding, 'json');
      t.ok(foreign?.key === null || foreign?.key === 'SPY');
    },
  },
  {
    name: 'publishing nothing does nothing',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      t.same(await bus.publish(topic, []), []);
      t.equal(await bus.end(topic, 0), null);
    },
  },
  {
    name: 'positions grow, compare() knows their order, end() and read() follow them',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      t.equal(await bus.end(topic, 0), null, 'there never was one');
      t.same(await bus.read(topic, 0, null, 10), []);
      const positions = [
        ...(await bus.publish(topic, recordsOf('A', 12))),
        ...(await bus.publish(topic, recordsOf('A', 8, 12))),
      ];
      t.equal(positions.length, 20);
      t.equal(await bus.end(topic, 0), positions[19]);
      for (const [at, position] of positions.entries()) {
        t.equal(Math.sign(bus.compare(position, positions[at])), 0);
        if (at > 0) {
          t.ok(bus.compare(positions[at - 1], position) < 0, `${positions[at - 1]} before ${position}`);
          t.ok(bus.compare(position, positions[at - 1]) > 0);
        }
      }
      const firstFive = await bus.read(topic, 0, null, 5);
      t.same(idsOf(firstFive), idsOf(recordsOf('A', 5)));
      t.same(
        firstFive.map(({ position }) => position),
        positions.slice(0, 5),
      );
      t.same(
        idsOf(await bus.read(topic, 0, positions[4], 100)),
        idsOf(recordsOf('A', 15, 5)),
        'after it, not with it',
      );
      t.same(await bus.read(topic, 0, positions[19], 100), []);
    },
  },
  {
    name: 'tail() has the newest, the oldest of them first',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      t.same(await bus.tail(topic, 0, 5), []);
      await bus.publish(topic, recordsOf('A', 12));
      t.same(idsOf(await bus.tail(topic, 0, 5)), idsOf(recordsOf('A', 5, 7)));
      t.same(idsOf(await bus.tail(topic, 0, 100)), idsOf(recordsOf('A', 12)));
      t.same(await bus.tail(topic, 0, 0), []);
    },
  },
  {
    name: 'a large batch is published whole and in order',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      const records = recordsOf('A', 20_000);
      const positions = await bus.publish(topic, records);
      t.equal(positions.length, records.length);
      const member = await bus.join({ topic, group: 'g', member: 'm' });
      const { ids } = await collect(member, (seen) => seen.size === records.length);
      t.same(ids, idsOf(records));
    },
  },
  {
    name: 'many topics are apart',
    async run(t, harness) {
      const topics = Array.from({ length: 10 }, () => harness.topic());
      const bus = await harness.bus();
      await Promise.all(topics.map((topic, at) => bus.publish(topic, recordsOf(`K${at}`, 5))));
      for (const [at, topic] of topics.entries()) {
        const member = await bus.join({ topic, group: 'g', member: 'm' });
        const { all } = await collect(member, (ids) => ids.size === 5);
        t.same(idsOf(all), idsOf(recordsOf(`K${at}`, 5)));
        t.ok(all.every((delivery) => delivery.topic === topic));
        await member.leave();
      }
    },
  },
  {
    name: 'a record lies in the partition of its key, and a shared member sees all partitions',
    async run(t, harness) {
      const topic = harness.topic(4);
      const bus = await harness.bus();
      t.equal(bus.partitions(topic), 4);
      t.equal(bus.partitions('unheard.of'), 1);
      const keys = ['SPY', 'AAPL', 'MSFT', 'SOL-USDC', 'BTC-USD', 'ETH-USD', 'QQQ', 'TSLA', 'GLD', 'IWM'];
      const records = Array.from({ length: 40 }, (_, at) => keys.map((key) => record(key, at))).flat();
      await bus.publish(topic, records);
      const member = await bus.join({ topic, group: 'g', member: 'm' });
      const { all } = await collect(member, (ids) => ids.size === records.length);
      t.same(sortedIds(all), sortedIds(records));
      for (const key of keys) {
        const mine = all.filter(({ eventId }) => eventId?.startsWith(`${key}|`));
        t.same(idsOf(mine), idsOf(recordsOf(key, 40)), `${key} in order`);
        t.ok(
          mine.every(({ partition }) => partition === partitionOf(key, 4)),
          `${key} in its partition`,
        );
      }
      const infos = (await bus.groups(topic)).filter(({ group }) => group === 'g');
      t.same(
        infos.map(({ partition }) => partition).sort((a, b) => a - b),
        [0, 1, 2, 3],
        'groups() has a line for each partition',
      );
    },
  },
  {
    name: 'usage() grows with what is published and knows the bound',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus({ maxBytes: 123_456_789 });
      await bus.publish(topic, recordsOf('A', 1));
      const before = await bus.usage();
      t.equal(before.maxBytes, 123_456_789);
      const data = new Uint8Array(randomBytes(500_000));
      await bus.publish(
        topic,
        [1, 2, 3, 4, 5, 6].map((at) => ({ key: 'A', eventId: `big${at}`, data, encoding: 'json' })),
      );
      await until('usage grows', async () => (await bus.usage()).bytes > before.bytes + 1_000_000);
      t.ok(before.bytes >= 0);
    },
  },
  {
    name: 'durability() says what a crash can cost',
    async run(t, harness) {
      const bus = await harness.bus();
      const { lossFree, why } = await bus.durability();
      t.type(lossFree, 'boolean');
      t.ok(why.length > 10, why);
    },
  },
  {
    name: 'next() returns as soon as something is there, and nothing after waitMs',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      const member = await bus.join({ topic, group: 'g', member: 'm' });
      t.same(await member.next(10, 0), []);
      t.same(await member.next(10, 50), []);
      const waiting = collect(member, (ids) => ids.size === 1);
      await bus.publish(topic, [record('A', 1)]);
      t.same((await waiting).ids, ['A|1']);
      await bus.publish(topic, recordsOf('A', 10, 2));
      const few = await until('some', async () => {
        const batch = await member.next(3, WAIT_MS);
        return batch.length > 0 && batch;
      });
      t.ok(few.length <= 3, 'never more than asked for');
    },
  },
  {
    name: 'close() leaves nothing behind that keeps the process alive',
    async run(t, harness) {
      const topic = harness.topic();
      t.equal(await harness.tour({ topic, group: 'g', member: 'm' }), 0);
    },
  },
];

function sortedIds(records: readonly { eventId: string | null }[]): string[] {
  return idsOf(records).sort();
}
