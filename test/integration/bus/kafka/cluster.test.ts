import { test } from 'tap';
import type { Delivery } from '../../../../src/bus/bus.ts';
import { idsOf, insist, record, recordsOf, sorted } from '../../../conformance/harness.ts';
import { startKafkaCluster } from '../../../support/servers/kafka-cluster.ts';
import { noKafka } from '../../../support/servers/kafka.ts';
import { until } from '../../../support/until.ts';
import { harnessFor } from './harness.ts';

const KEYS = Array.from({ length: 24 }, (_, at) => `K${at}`);
const ROUNDS = 120;

await test(
  'brokers of a cluster die one after another: leaders and coordinators move, nothing is lost',
  { skip: noKafka() },
  async (t) => {
    const nodes = await startKafkaCluster();
    t.teardown(() => Promise.all(nodes.map((node) => node.stop())));
    const brokers = nodes.map(({ port }) => `127.0.0.1:${port}`);
    const harness = harnessFor(t, { address: brokers[0] });
    const topic = harness.topic(6);
    const publisher = await harness.open({ brokers });
    const seen: Delivery[] = [];
    const ending = new AbortController();
    const members = ['m1', 'm2'].map(async (name) => {
      const bus = await harness.open({ brokers });
      const member = await insist(() => bus.join({ topic, group: 'g', member: name, takeoverMs: 5000 }));
      while (!ending.signal.aborted) {
        const batch = await insist(() => member.next(50, 200));
        seen.push(...batch);
        await insist(() => member.acknowledge(batch));
      }
    });
    const publishing = (async () => {
      for (let round = 0; round < ROUNDS; round++) {
        await insist(() =>
          publisher.publish(
            topic,
            KEYS.map((key) => record(key, round)),
          ),
        );
        await until('the members follow', () => round * KEYS.length - new Set(idsOf(seen)).size < 500);
      }
    })();
    const total = ROUNDS * KEYS.length;
    const faults = [
      { at: 0.1, run: () => nodes[1].kill() },
      { at: 0.3, run: () => nodes[1].start() },
      { at: 0.5, run: () => nodes[2].kill() },
      { at: 0.7, run: () => nodes[2].start() },
    ];
    for (const { at, run } of faults) {
      await until(`${at} seen`, () => seen.length > total * at, { progress: () => seen.length });
      await run();
    }
    await publishing;
    await until('all of them', () => new Set(idsOf(seen)).size === total, { progress: () => seen.length });
    ending.abort();
    await Promise.all(members);
    const all = Array.from({ length: ROUNDS }, (_, at) => idsOf(KEYS.map((key) => record(key, at)))).flat();
    t.same(sorted(idsOf(seen)), sorted(all), 'nothing is lost');
    for (const key of KEYS) {
      const firsts = [...new Set(idsOf(seen).filter((id) => id.startsWith(`${key}|`)))];
      t.same(firsts, idsOf(recordsOf(key, ROUNDS)), `${key} in order`);
    }
    t.match(await insist(() => publisher.durability()), {
      lossFree: true,
      why: /replication factor 3 and min.insync.replicas 2/,
    });
  },
);
