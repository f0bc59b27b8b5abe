import { test } from 'tap';
import { BusError } from '../../../../src/bus/bus.ts';
import { partitionOf } from '../../../../src/core/bus/partitions.ts';
import { idsOf, insist, record, recordsOf } from '../../../conformance/harness.ts';
import { noKafka } from '../../../support/servers/kafka.ts';
import { kcatProduce, noKcat } from '../../../support/bus/kafka-bus.ts';
import { harnessFor, startNode } from './harness.ts';
import { untilStopped } from '../../../support/servers/stopped.ts';

const skip = noKafka();
const node = skip === false ? await startNode() : null;
const KEYS = ['SPY', 'AAPL', 'MSFT', 'SOL-USDC', 'QQQ', 'TSLA', 'GLD', 'IWM'];

await test('connections are cut while records are published: none is there twice', { skip }, async (t) => {
  const harness = harnessFor(t, node!);
  const topic = harness.topic();
  const bus = await harness.open();
  const records = recordsOf('A', 4000);
  let sent = 0;
  const cutting = setInterval(() => node!.proxy.cutAll(), 40);
  try {
    for (; sent < records.length; sent += 20) await bus.publish(topic, records.slice(sent, sent + 20));
  } finally {
    clearInterval(cutting);
  }
  t.ok(node!.proxy.counts.cut > 3, `${node!.proxy.counts.cut} connections were cut`);
  t.same(idsOf(await bus.read(topic, 0, null, 10_000)), idsOf(records));
});

await test(
  'a broker that stands still: publish() gives up with what passes, and goes on when it is back',
  { skip },
  async (t) => {
    const harness = harnessFor(t, node!);
    const topic = harness.topic();
    const bus = await harness.open({ requestTimeoutMs: 300, retryMs: 500 });
    await bus.publish(topic, recordsOf('A', 1));
    node!.kafka.freeze();
    await untilStopped(node!.kafka.pid);
    try {
      await t.rejects(bus.publish(topic, recordsOf('A', 1, 1)), { name: 'BusError', kind: 'unreachable' });
      await t.rejects(bus.read(topic, 0, null, 10), { name: 'BusError', kind: 'unreachable' });
      await t.rejects(bus.groups(topic), { name: 'BusError', kind: 'unreachable' });
    } finally {
      node!.kafka.thaw();
    }
    await insist(() => bus.publish(topic, recordsOf('A', 1, 2)));
    t.equal((await insist(() => bus.read(topic, 0, null, 10))).at(-1)?.eventId, 'A|2');
  },
);

await test("Kafka's own partitioner puts a key where ours does", { skip: skip || noKcat() }, async (t) => {
  const harness = harnessFor(t, node!);
  const topic = harness.topic(7);
  const bus = await harness.open();
  await bus.publish(
    topic,
    KEYS.map((key) => record(key, 0)),
  );
  for (const key of KEYS)
    await kcatProduce(harness.address, topic, key, key, ['-X', 'topic.partitioner=murmur2']);
  for (let partition = 0; partition < 7; partition++) {
    const mine = KEYS.filter((key) => partitionOf(key, 7) === partition);
    const deliveries = await bus.read(topic, partition, null, 100);
    t.same(
      deliveries.map(({ key }) => key ?? '').sort(),
      [...mine, ...mine].sort(),
      `partition ${partition}`,
    );
  }
});

await test('a record that is too large is refused, and its neighbours are published', { skip }, async (t) => {
  const harness = harnessFor(t, node!);
  const topic = harness.topic();
  const letters = harness.topic(1, '.dlq');
  const bus = await harness.open();
  const huge = { ...record('A', 1), data: new Uint8Array(1_200_000) };
  const publishing = bus.publish(topic, [record('A', 0), huge, record('A', 2), record('B', 3)]);
  const error = await publishing.then(
    () => null,
    (reason: unknown) => reason,
  );
  t.ok(error instanceof BusError && error.kind === 'refused', String(error));
  t.match(String(error), /record 1 \(A\) has 1200000 bytes/);
  t.same(idsOf(await bus.read(topic, 0, null, 10)), ['A|0', 'A|2', 'B|3']);
  t.equal((await bus.publish(letters, [huge])).length, 1, 'dead letters may be larger');
  t.same((await bus.publish(topic, [record('A', 4)])).length, 1, 'and it goes on');
});

await test(
  'a limit that was lowered meanwhile: the batch is halved down to the record that is too large',
  { skip },
  async (t) => {
    const harness = harnessFor(t, node!);
    const topic = harness.topic();
    const bus = await harness.open();
    await bus.publish(topic, [record('A', 0)]);
    await harness.admin().incrementalAlterConfigs({
      resources: [
        {
          resourceType: 2,
          resourceName: topic,
          configs: [{ name: 'max.message.bytes', value: '2000', configOperation: 0 }],
        },
      ],
    });
    const records = recordsOf('A', 40, 1);
    records[20] = { ...records[20], data: new Uint8Array(5000) };
    await t.rejects(bus.publish(topic, records), { name: 'BusError', kind: 'refused' });
    const expected = idsOf(recordsOf('A', 41)).filter((id) => id !== records[20].eventId);
    t.same(idsOf(await bus.read(topic, 0, null, 100)), expected);
  },
);

await test('the node ends', { skip }, async () => node?.stop());
