import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { test } from 'tap';
import { type Delivery, type GroupCheckpoints } from '../../../../src/bus/bus.ts';
import {
  collect,
  idsOf,
  insist,
  pendingOf,
  record,
  recordsOf,
  sorted,
} from '../../../conformance/harness.ts';
import { noKafka } from '../../../support/servers/kafka.ts';
import { testEnv } from '../../../support/bus/env.ts';
import { until } from '../../../support/until.ts';
import { harnessFor, startNode, work } from './harness.ts';

const skip = noKafka();
const node = skip === false ? await startNode() : null;
const TAKEOVER_MS = 1000;
/** where nobody dies: a machine under load must not be taken for a death */
const PATIENT_MS = 5000;
const KEYS = ['SPY', 'AAPL', 'MSFT', 'SOL-USDC', 'QQQ', 'TSLA', 'GLD', 'IWM'];
/** some in each of four partitions */
const MANY = Array.from({ length: 24 }, (_, at) => `K${at}`);

// each with a group of its own: while the members of one change from the older protocol to the newer one, records may
// come twice
for (const protocol of ['consumer', 'classic'] as const) {
  const groupProtocol = protocol === 'classic' ? { groupProtocol: protocol } : {};

  await test(
    `${protocol}: a second and a third member come and go: in order, each record once`,
    { skip },
    async (t) => {
      const harness = harnessFor(t, node!);
      const topic = harness.topic(4);
      const publisher = await harness.open();
      const seen: Delivery[] = [];
      let rounds = 0;
      const enough = new AbortController();
      const publishing = (async () => {
        for (; !enough.signal.aborted; rounds++) {
          await publisher.publish(
            topic,
            MANY.map((key) => record(key, rounds)),
          );
          await until('the members follow', () => rounds * MANY.length - seen.length < 200);
        }
      })();
      const join = async (name: string) => {
        const bus = await harness.open(groupProtocol);
        const member = await bus.join({ topic, group: topic, member: name, takeoverMs: PATIENT_MS });
        const mine: Delivery[] = [];
        const working = work(member, (batch) => {
          mine.push(...batch);
          seen.push(...batch);
        });
        await until(`${name} gets some`, () => mine.length > 20);
        return { member, mine, ...working };
      };
      const first = await join('m1');
      const second = await join('m2');
      const third = await join('m3');
      await second.stop();
      await second.member.leave();
      const from = seen.length;
      await until('the others have all of it', () => {
        const partitions = seen.slice(from).map(({ partition }) => partition);
        return new Set(partitions).size === 4;
      });
      enough.abort();
      await publishing;
      const ids = Array.from({ length: rounds }, (_, at) => idsOf(MANY.map((key) => record(key, at)))).flat();
      await until('all of them', () => new Set(idsOf(seen)).size === ids.length, {
        progress: () => seen.length,
      });
      await Promise.all([first.stop(), third.stop()]);
      t.same(idsOf(seen).sort(), ids.sort(), 'each exactly once');
      for (const key of MANY) {
        const mine = idsOf(seen).filter((id) => id.startsWith(`${key}|`));
        t.same(mine, idsOf(recordsOf(key, rounds)), `${key} in order`);
      }
      t.equal(await pendingOf(publisher, topic, topic), 0);
    },
  );

  await test(`${protocol}: a late acknowledgement moves nothing`, { skip }, async (t) => {
    const harness = harnessFor(t, node!);
    const topic = harness.topic();
    const bus = await harness.open(groupProtocol);
    await bus.publish(topic, recordsOf('A', 10));
    const program = fileURLToPath(new URL('late-child.ts', import.meta.url));
    const child = spawn(process.execPath, [program, harness.address, topic, harness.folder, protocol], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    t.teardown(() => child.kill('SIGKILL'));
    const lines: string[] = [];
    createInterface(child.stdout).on('line', (line) => lines.push(line));
    await until('it has them', () => lines.includes('taken'), { context: () => lines.join('\n') });
    child.kill('SIGSTOP');
    const heir = await bus.join({ topic, group: topic, member: 'heir', takeoverMs: TAKEOVER_MS });
    const { all } = await collect(heir, (ids) => ids.size === 10, { acknowledge: false });
    await heir.acknowledge(all.slice(0, 5));
    const committed = async (): Promise<string | null> => (await bus.groups(topic))[0].acknowledged;
    t.equal(await committed(), '4');
    child.kill('SIGCONT');
    await until('it knows that it was given up', () =>
      lines.some((line) => line.includes('no longer a member')),
    );
    child.kill('SIGUSR2');
    await until('it is told', () => lines.find((line) => /^(acknowledged|failed)/.test(line)), {
      context: () => lines.join('\n'),
    });
    t.equal(await committed(), '4', "the heir's own acknowledgement stands");
    await heir.acknowledge(all.slice(5));
    t.equal(await committed(), '9');
  });
}

await test(
  'with more members than partitions the others get nothing, until one leaves',
  { skip },
  async (t) => {
    const harness = harnessFor(t, node!);
    const topic = harness.topic(1);
    const [bus, other] = [await harness.open(), await harness.open()];
    const first = await bus.join({ topic, group: 'g', member: 'first', takeoverMs: PATIENT_MS });
    const second = await other.join({ topic, group: 'g', member: 'second', takeoverMs: PATIENT_MS });
    await bus.publish(topic, recordsOf('A', 20));
    const { ids } = await collect(first, (seen) => seen.size === 20);
    t.same(ids, idsOf(recordsOf('A', 20)));
    t.same(await second.next(10, 200), []);
    t.equal((await bus.groups(topic))[0].members, 2);
    await first.leave();
    await bus.publish(topic, recordsOf('A', 5, 20));
    t.same((await collect(second, (seen) => seen.size === 5)).ids, idsOf(recordsOf('A', 5, 20)));
  },
);

await test('the broker crashes under load with two members on four partitions', { skip }, async (t) => {
  const harness = harnessFor(t, node!);
  const topic = harness.topic(4);
  const publisher = await harness.open();
  const seen: Delivery[] = [];
  const members = await Promise.all(
    ['m1', 'm2'].map(async (name) => {
      const bus = await harness.open();
      return work(await bus.join({ topic, group: 'g', member: name, takeoverMs: TAKEOVER_MS * 5 }), (batch) =>
        seen.push(...batch),
      );
    }),
  );
  const records = Array.from({ length: 250 }, (_, at) => KEYS.map((key) => record(key, at))).flat();
  let sent = 0;
  const publishing = (async () => {
    for (; sent < records.length; sent += 25) {
      await insist(() => publisher.publish(topic, records.slice(sent, sent + 25)));
    }
  })();
  for (const share of [0.2, 0.6]) {
    await until('some were seen', () => seen.length >= records.length * share, {
      progress: () => seen.length,
    });
    await node!.kafka.crash();
  }
  await publishing;
  await until('all of them', () => new Set(idsOf(seen)).size === records.length, {
    progress: () => seen.length,
  });
  await Promise.all(members.map((member) => member.stop()));
  t.same(sorted(idsOf(seen)), sorted(idsOf(records)), 'nothing is lost');
  for (const key of KEYS) {
    const firsts = [...new Set(idsOf(seen).filter((id) => id.startsWith(`${key}|`)))];
    t.same(firsts, idsOf(recordsOf(key, 250)), `${key} in order`);
  }
  await until('nothing is left', async () => {
    const infos = await insist(() => publisher.groups(topic));
    return infos.every(({ lag, pending }) => lag === 0 && pending === 0);
  });
});

await test(
  'a partition lost and regained while its records are being handed out: none is left out',
  { skip },
  async (t) => {
    const harness = harnessFor(t, node!);
    const topic = harness.topic();
    const gate = Promise.withResolvers<void>();
    const { checkpoints } = harness;
    let asked = 0;
    const slow: GroupCheckpoints = {
      read: (...at) => checkpoints.read(...at),
      write: (...at) => checkpoints.write(...at),
      drop: (...at) => checkpoints.drop(...at),
      async starting(...at) {
        asked += 1;
        await gate.promise;
        return checkpoints.starting(...at);
      },
    };
    const said: string[] = [];
    const bus = await harness.open({
      checkpoints: slow,
      env: testEnv({
        log: (_level, message) => {
          said.push(message);
          // at the very moment at which it has nothing
          if (message.includes('no longer a member')) gate.resolve();
        },
      }),
    });
    await bus.publish(topic, recordsOf('A', 100));
    const member = await bus.join({ topic, group: 'g', member: 'm', takeoverMs: 600 });
    const handing = until('the records are there', async () => {
      const batch = await member.next(10, 1000);
      return asked > 0 && { batch };
    });
    await until('it counts the attempt', () => asked === 1);
    // its session ends
    node!.proxy.freeze();
    await delay(1500);
    node!.proxy.heal();
    await until('it was lost', () => said.some((message) => message.includes('no longer a member')));
    const { batch } = await handing;
    await member.acknowledge(batch);
    const { all } = await collect(member, (ids) => ids.has('A|99'));
    t.same(sorted(idsOf([...batch, ...all])), sorted(idsOf(recordsOf('A', 100))), 'all of them');
    t.equal((await bus.groups(topic))[0].lag, 0);
  },
);

await test(
  'a group without its offsets goes on at its checkpoint, and nothing that it needs is trimmed',
  { skip },
  async (t) => {
    const harness = harnessFor(t, node!);
    const topic = harness.topic();
    const bus = await harness.open();
    await bus.publish(topic, recordsOf('A', 50));
    const member = await bus.join({ topic, group: 'lost', member: 'm', takeoverMs: TAKEOVER_MS });
    const { all } = await collect(member, (ids) => ids.size === 20, { limit: 20, acknowledge: false });
    await member.acknowledge(all);
    await until(
      'the checkpoint is written',
      async () => (await harness.checkpoints.position(topic, 'lost', 0)) === '19',
    );
    await member.leave();
    await harness.admin().deleteGroups({ groups: ['lost'] });
    const reader = await bus.openPartition({ topic, group: 'owner', member: 'm', partition: 0, after: '19' });
    await harness
      .admin()
      .deleteConsumerGroupOffsets({ groupId: 'owner', topics: [{ name: topic, partitionIndexes: [0] }] });
    t.equal(
      await bus.trim(topic, { acknowledgedMs: 0, retentionMs: 0 }),
      0,
      'a reader of this process is not seen',
    );
    t.ok(harness.said.some(({ message }) => message.includes('not trimmed')));
    await reader.release('24');
    const again = await bus.join({ topic, group: 'lost', member: 'm', takeoverMs: TAKEOVER_MS });
    t.equal(await bus.trim(topic, { acknowledgedMs: 0, retentionMs: 0 }), 20);
    t.same((await collect(again, (ids) => ids.size === 30)).ids, idsOf(recordsOf('A', 30, 20)));
  },
);

await test('a group that another topic is read by keeps its offsets there', { skip }, async (t) => {
  const harness = harnessFor(t, node!);
  const [one, two] = [harness.topic(), harness.topic()];
  const bus = await harness.open();
  for (const topic of [one, two]) {
    await bus.publish(topic, recordsOf('A', 10));
    const reader = await bus.openPartition({ topic, group: 'both', member: 'm', partition: 0, after: null });
    await reader.release('4');
    await reader.close();
  }
  t.equal(await bus.dropGroup(one, 'both'), true);
  t.same(await bus.groups(one), []);
  t.match(await bus.groups(two), [{ group: 'both', acknowledged: '4', lag: 5 }]);
  const member = await bus.join({ topic: two, group: 'both', member: 'm', takeoverMs: TAKEOVER_MS });
  await t.rejects(
    bus.dropGroup(two, 'both'),
    { name: 'BusError', kind: 'refused' },
    'living members are not robbed',
  );
  await t.rejects(
    bus
      .openPartition({ topic: two, group: 'both', member: 'x', partition: 0, after: null })
      .then((r) => r.release('6')),
    { name: 'BusError', kind: 'setup' },
  );
  await member.leave();
});

await test('the node ends', { skip }, async () => node?.stop());
