import { test } from 'tap';
import { record, recordsOf } from '../../../conformance/harness.ts';
import { noKafka } from '../../../support/servers/kafka.ts';
import { until } from '../../../support/until.ts';
import { harnessFor, startNode } from './harness.ts';

const skip = noKafka();
const node = skip === false ? await startNode() : null;

await test(
  'an existing topic: partitions must agree, settings that would lose records are put right',
  { skip },
  async (t) => {
    const harness = harnessFor(t, node!);
    const [few, plain] = [harness.topic(3), harness.topic(2)];
    const admin = harness.admin();
    await admin.createTopics({ topics: [few, plain], partitions: 2, replicas: 1 });
    const bus = await harness.open();
    await t.rejects(bus.publish(few, recordsOf('A', 1)), {
      kind: 'setup',
      message: /has 2 partitions, the configuration says 3/,
    });
    await bus.publish(plain, recordsOf('A', 1));
    await until('the broker keeps everything', async () => {
      const [described] = await admin.describeConfigs({
        resources: [{ resourceType: 2, resourceName: plain }],
      });
      return described.configs.find(({ name }) => name === 'retention.ms')?.value === '-1';
    });
    t.ok(
      harness.said.some(({ message }) =>
        message.includes('settings by which the broker would delete records'),
      ),
    );
  },
);

await test('usage() falls by what was trimmed, though the segment is still there', { skip }, async (t) => {
  const harness = harnessFor(t, node!);
  const topic = harness.topic();
  const bus = await harness.open();
  const data = new Uint8Array(1000);
  const records = Array.from({ length: 5000 }, (_, at) => ({ ...record('A', at), data }));
  await bus.publish(topic, records);
  const before = (await bus.usage()).bytes;
  t.ok(before > 5_000_000 && before < 7_000_000, `${before} bytes`);
  const reader = await bus.openPartition({ topic, group: 'owner', member: 'm', partition: 0, after: null });
  await reader.release('4499');
  t.equal(await bus.trim(topic, { acknowledgedMs: 0, retentionMs: 0 }), 4500);
  const after = (await bus.usage()).bytes;
  t.ok(after > before * 0.08 && after < before * 0.13, `${after} of ${before} bytes`);
});

await test(
  'durability() goes by the replicas that must have a record, or by the flush',
  { skip },
  async (t) => {
    const harness = harnessFor(t, node!);
    const topic = harness.topic();
    const bus = await harness.open();
    await bus.publish(topic, recordsOf('A', 1));
    t.match(await bus.durability(), {
      lossFree: false,
      why: /replication factor 1 and min.insync.replicas 1/,
    });
    await harness.admin().incrementalAlterConfigs({
      resources: [
        {
          resourceType: 2,
          resourceName: topic,
          configs: [{ name: 'flush.messages', value: '1', configOperation: 0 }],
        },
      ],
    });
    const fresh = await harness.open();
    t.match(await fresh.durability(), { lossFree: true, why: /flush.messages 1/ });
  },
);

await test('the node ends', { skip }, async () => node?.stop());
