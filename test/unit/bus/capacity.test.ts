import { testEnv } from '../../support/bus/env.ts';
import { test } from 'tap';
import {
  BusError,
  type BusUsage,
  type GroupInfo,
  type StreamBus,
  type TrimPolicy,
} from '../../../src/bus/bus.ts';
import { BusCapacity } from '../../../src/bus/capacity.ts';
import { until } from '../../support/until.ts';

/** A bus of which only its size is of interest; trimming takes `trimmable` bytes away, once. */
class SizedBus {
  usageNow: BusUsage = { bytes: 0, maxBytes: 100, topics: new Map() };
  trimmable = 0;
  failing = false;
  infos: Partial<GroupInfo>[] = [];
  readonly policies: [topic: string, policy: TrimPolicy][] = [];
  readonly said: { level: string; message: string; fields: Record<string, unknown> }[] = [];

  capacity(lookMs = 5, deadLetterTopic: string | null = null): BusCapacity {
    const bus: Pick<StreamBus, 'usage' | 'trim' | 'groups'> = {
      usage: async () => {
        if (this.failing) throw new BusError('unreachable', 'away');
        return { ...this.usageNow };
      },
      trim: async (topic, policy) => {
        this.policies.push([topic, policy]);
        const gone = policy.acknowledgedMs === 0 ? this.trimmable : 0;
        this.trimmable -= gone;
        this.usageNow.bytes -= gone;
        return gone;
      },
      groups: async () => this.infos as GroupInfo[],
    };
    return new BusCapacity({
      bus: bus as StreamBus,
      topics: ['mdp.events', 'mdp.signals'],
      deadLetterTopic,
      env: testEnv({ log: (level, message, fields) => this.said.push({ level, message, fields }) }),
      lookMs,
    });
  }

  alarms(): number {
    return this.said.filter(({ level }) => level === 'error').length;
  }
}

void test('every topic is trimmed, gently while there is room', async (t) => {
  const bus = new SizedBus();
  bus.usageNow.bytes = 40;
  const capacity = bus.capacity();
  await capacity.look();
  t.same(
    bus.policies.map(([topic, { acknowledgedMs }]) => [topic, acknowledgedMs]),
    [
      ['mdp.events', 600_000],
      ['mdp.signals', 600_000],
    ],
  );
  t.equal(capacity.full, false);
  t.match(capacity.usage, { bytes: 40, maxBytes: 100 });
  await capacity.relieved();
  await capacity.stop();
});

void test('dead letters have a time of their own, also while the bus fills up', async (t) => {
  const bus = new SizedBus();
  bus.usageNow.bytes = 60;
  const capacity = bus.capacity(5, 'mdp.events.dlq');
  await capacity.look();
  const monthMs = 30 * 24 * 3_600_000;
  t.match(bus.policies, [
    ['mdp.events', { acknowledgedMs: 0, retentionMs: 86_400_000 }],
    ['mdp.signals', { acknowledgedMs: 0 }],
    ['mdp.events.dlq', { acknowledgedMs: monthMs, retentionMs: monthMs, outlivesProcess: true }],
  ]);
  await capacity.stop();
});

void test('what trimming frees counts before publishers are stopped', async (t) => {
  const bus = new SizedBus();
  bus.usageNow.bytes = 95;
  bus.trimmable = 60;
  const capacity = bus.capacity();
  await capacity.look();
  t.equal(capacity.full, false);
  t.equal(capacity.trimmed, 60);
  t.match(capacity.usage, { bytes: 35, maxBytes: 100 });
  t.equal(bus.alarms(), 0);
  await capacity.stop();
});

void test('a full bus makes publishers wait and raises an alarm that names who holds it up', async (t) => {
  const bus = new SizedBus();
  bus.usageNow.bytes = 85;
  bus.infos = [
    { group: 'tick-consumer', lagMs: 12 },
    { group: 'forgotten', lagMs: 86_400_000 },
  ];
  const capacity = bus.capacity();
  capacity.start();
  await until('full', () => capacity.full);
  let passed = false;
  const waiting = capacity.relieved().then(() => (passed = true));
  await until('the alarm', () => bus.alarms() === 1);
  t.match(bus.said[0], {
    level: 'error',
    fields: { bytes: 85, maxBytes: 100, slowest: { group: 'forgotten', topic: 'mdp.events' } },
  });
  bus.usageNow.bytes = 78;
  await capacity.look();
  await capacity.look();
  t.equal(passed, false, 'not at 78 %: they would stop again at once');
  t.equal(bus.alarms(), 1, 'said once');
  bus.usageNow.bytes = 70;
  await waiting;
  t.equal(capacity.full, false);
  t.match(bus.said.at(-1), { level: 'info', fields: { bytes: 70 } });
  await capacity.stop();
});

void test('a refusal stops publishers until the next look, also where nothing is measured', async (t) => {
  const bus = new SizedBus();
  const capacity = bus.capacity();
  await capacity.look();
  capacity.reportFull();
  capacity.reportFull();
  t.equal(capacity.full, true);
  const waiting = capacity.relieved();
  await capacity.look();
  await waiting;
  t.equal(capacity.full, false);
  await until('the alarm', () => bus.alarms() === 1);
  await capacity.stop();
});

void test('refusals that follow one another are one alarm, over when a record was taken', async (t) => {
  const bus = new SizedBus();
  const capacity = bus.capacity();
  await capacity.look();
  t.equal(capacity.alarmed, false);
  for (let refusal = 0; refusal < 3; refusal++) {
    capacity.reportFull();
    t.equal(capacity.full, true, 'publishers wait');
    await capacity.look();
    t.equal(capacity.full, false, 'one may try: what is measured says nothing of a disk');
    t.equal(capacity.alarmed, true);
  }
  await until('the alarm', () => bus.alarms() === 1);
  t.match(bus.said, [{ level: 'error', fields: { why: 'the bus refused a record' } }]);
  capacity.reportTaken();
  t.equal(capacity.alarmed, false);
  t.match(bus.said.at(-1), { level: 'info', message: /has room again/ });
  capacity.reportTaken();
  t.equal(bus.said.length, 2, 'said once');
  await capacity.stop();
});

void test('whoever waits for a bus that refused goes on as soon as it takes something', async (t) => {
  const bus = new SizedBus();
  const capacity = bus.capacity();
  capacity.reportFull();
  const waiting = capacity.relieved();
  capacity.reportTaken();
  await waiting;
  t.equal(capacity.full, false);
  await capacity.stop();
});

void test('refused and measured full: what is measured decides when publishers go on', async (t) => {
  const bus = new SizedBus();
  bus.usageNow.bytes = 95;
  const capacity = bus.capacity();
  capacity.reportFull();
  await capacity.look();
  capacity.reportTaken();
  t.equal(capacity.full, true, 'one small record is no room');
  bus.usageNow.bytes = 70;
  await capacity.look();
  t.equal(capacity.alarmed, false);
  await until('the alarm', () => bus.alarms() === 1);
  await capacity.stop();
});

void test('a refusal that nobody repeats is over after a minute of looks', async (t) => {
  const bus = new SizedBus();
  const capacity = bus.capacity();
  capacity.reportFull();
  await capacity.look();
  for (let look = 1; look < 60; look++) await capacity.look();
  t.equal(capacity.alarmed, true);
  await capacity.look();
  t.equal(capacity.alarmed, false);
  await capacity.stop();
});

void test('a bus that cannot be asked changes nothing and is said once', async (t) => {
  const bus = new SizedBus();
  bus.usageNow.bytes = 90;
  const capacity = bus.capacity();
  await capacity.look();
  bus.failing = true;
  for (let look = 0; look < 5; look++) await capacity.look();
  t.equal(capacity.full, true, 'still');
  t.equal(bus.said.filter(({ level }) => level === 'warn').length, 1);
  bus.failing = false;
  bus.usageNow.bytes = 10;
  await capacity.look();
  t.equal(capacity.full, false);
  await capacity.stop();
});

void test('whoever waits is told when the process ends, or by its own signal', async (t) => {
  const bus = new SizedBus();
  bus.usageNow.bytes = 90;
  const capacity = bus.capacity();
  await capacity.look();
  const aborting = new AbortController();
  const mine = capacity.relieved(aborting.signal);
  const theirs = capacity.relieved();
  aborting.abort(new Error('enough'));
  await t.rejects(mine, { message: 'enough' });
  await t.rejects(capacity.relieved(aborting.signal), { message: 'enough' });
  const rejected = t.rejects(theirs, { name: 'BusError' });
  await capacity.stop();
  await rejected;
  await t.rejects(capacity.relieved(), { name: 'BusError' });
});
