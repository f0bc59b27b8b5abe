import { Producer, stringSerializers } from '@platformatic/kafka';
import { test } from 'tap';
import type { Delivery } from '../../../../src/bus/bus.ts';
import { collect, idsOf, recordsOf } from '../../../conformance/harness.ts';
import { noKafka } from '../../../support/servers/kafka.ts';
import { kcatProduce, noKcat } from '../../../support/bus/kafka-bus.ts';
import { until } from '../../../support/until.ts';
import { harnessFor, startNode } from './harness.ts';

const skip = noKafka();
const node = skip === false ? await startNode() : null;
const TAKEOVER_MS = 1000;

await test(
  'messages of kcat are taken, with a key and without one',
  { skip: skip || noKcat() },
  async (t) => {
    const harness = harnessFor(t, node!);
    const topic = harness.topic();
    const bus = await harness.open();
    await bus.publish(topic, recordsOf('A', 1));
    await kcatProduce(harness.address, topic, '{"symbol":"SPY"}', 'SPY');
    await kcatProduce(harness.address, topic, '{"symbol":"QQQ"}');
    const deliveries = await bus.read(topic, 0, null, 10);
    t.match(deliveries.slice(1), [
      { key: 'SPY', eventId: null, encoding: 'json', position: '1', attempts: 1 },
      { key: null, eventId: null, encoding: 'json', position: '2' },
    ]);
    t.same(
      deliveries.slice(1).map(({ data }) => Buffer.from(data ?? []).toString()),
      ['{"symbol":"SPY"}', '{"symbol":"QQQ"}'],
    );
  },
);

await test(
  'records deleted before they were read: goes on at the first that is there, and says what is lost',
  { skip },
  async (t) => {
    const harness = harnessFor(t, node!);
    const topic = harness.topic();
    const bus = await harness.open();
    await bus.publish(topic, recordsOf('A', 100));
    const reader = await bus.openPartition({ topic, group: 'owner', member: 'm', partition: 0, after: '9' });
    const member = await bus.join({ topic, group: 'g', member: 'm', takeoverMs: TAKEOVER_MS });
    await harness
      .admin()
      .deleteRecords({ topics: [{ name: topic, partitions: [{ partition: 0, offset: 40n }] }] });
    const read: Delivery[] = [];
    await until('the reader goes on', async () => {
      read.push(...(await reader.next(100, 500)));
      return read.length >= 60;
    });
    t.same(idsOf(read), idsOf(recordsOf('A', 60, 40)));
    const { ids } = await collect(member, (seen) => seen.has('A|99'));
    t.same(ids, idsOf(recordsOf('A', 60, 40)));
    const losses = harness.said.filter(({ level }) => level === 'error').map(({ fields }) => fields['lost']);
    t.same(new Set(losses), new Set([30, 40]));
    t.equal(losses.length, 2);
    await until(
      'all acknowledged',
      async () => (await bus.groups(topic)).find(({ group }) => group === 'g')?.lag === 0,
    );
  },
);

function laterTexts(deliveries: readonly Delivery[]): string[] {
  return deliveries.slice(1).map(({ data }) => Buffer.from(data ?? []).toString());
}

await test('what a foreign transaction gave up is not handed out', { skip }, async (t) => {
  const harness = harnessFor(t, node!);
  const topic = harness.topic();
  const bus = await harness.open();
  const producer = new Producer({
    clientId: 'foreign',
    bootstrapBrokers: [harness.address],
    idempotent: true,
    transactionalId: topic,
    serializers: stringSerializers,
  });
  t.teardown(() => producer.close());
  const send = async (value: string, end: 'commit' | 'abort'): Promise<void> => {
    const transaction = await producer.beginTransaction({});
    await transaction.send({ messages: [{ topic, key: 'A', value }] });
    await transaction[end]();
  };
  await bus.publish(topic, recordsOf('A', 1));
  await send('given up', 'abort');
  await send('kept', 'commit');
  await send('given up as well', 'abort');
  t.same(laterTexts(await bus.read(topic, 0, null, 10)), ['kept']);
  t.same(laterTexts(await bus.tail(topic, 0, 2)), ['kept']);
  const member = await bus.join({ topic, group: 'g', member: 'm', takeoverMs: TAKEOVER_MS });
  await bus.publish(topic, recordsOf('A', 1, 1));
  const { all } = await collect(member, (ids) => ids.has('A|1'));
  t.equal(all.length, 3);
  t.equal((await bus.groups(topic)).find(({ group }) => group === 'g')?.lag, 0);
});

await test('the node ends', { skip }, async () => node?.stop());
