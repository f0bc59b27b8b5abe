import fc from 'fast-check';
import { test } from 'tap';
import {
  Publisher,
  PUBLISHER_LIMITS,
  type PublishRecord,
  type PublisherLimits,
} from '../../../src/bus/publisher.ts';
import type { Backpressure } from '../../../src/core/bus/capacity.ts';
import { decodeDeadLetter } from '../../../src/core/market/dead-letter.ts';
import { PublishBus, TestBackpressure } from '../../support/bus/publish-bus.ts';

interface Harness {
  bus: PublishBus;
  publisher: Publisher;
  counts: Map<string, number>;
  failures: string[];
  logs: string[];
}

function harness(
  limits: Partial<PublisherLimits> = {},
  backpressure: Backpressure = new TestBackpressure(),
): Harness {
  const bus = new PublishBus();
  const counts = new Map<string, number>();
  const failures: string[] = [];
  const logs: string[] = [];
  const publisher = new Publisher({
    bus,
    topic: 'mdp.events',
    deadLetterTopic: 'mdp.events.dlq',
    backpressure,
    limits: { ...PUBLISHER_LIMITS, backoff: { firstMs: 1, maxMs: 2 }, ...limits },
    published: (provider, records) => counts.set(provider, (counts.get(provider) ?? 0) + records),
    failed: (kind) => failures.push(kind),
    env: {
      log: (_, message) => logs.push(message),
      clock: { nowMicros: () => 1_755_945_303_178_360n, monotonicMs: () => 0 },
      random: () => 0,
    },
  });
  return { bus, publisher, counts, failures, logs };
}

const record = (key: string, provider = 'p', bytes = 10): PublishRecord => ({
  provider,
  key,
  eventId: `${provider}|${key}`,
  encoding: 'json',
  data: Buffer.alloc(bytes, key),
});
const records = (count: number, from = 0): PublishRecord[] =>
  Array.from({ length: count }, (_, at) => record(`K${from + at}`));
const keysOf = (list: readonly PublishRecord[]): string[] => list.map(({ key }) => key);

void test('records are published in order, batched by themselves, counted by provider', async (t) => {
  const { bus, publisher, counts } = harness({ batchRecords: 100 });
  const given = records(1000);
  await publisher.add(given.slice(0, 7));
  await publisher.add(given.slice(7));
  await publisher.add([record('X', 'q')]);
  await publisher.settled();
  t.strictSame(bus.keys(), [...keysOf(given), 'X']);
  t.ok(bus.taken.every((batch) => batch.records.length <= 100));
  t.ok(bus.taken.length < 20, `${bus.taken.length} batches`);
  t.strictSame(
    [...counts],
    [
      ['p', 1000],
      ['q', 1],
    ],
  );
  t.equal(await publisher.stop(), 0);
});

void test('a batch ends at its bytes, and a record larger than that goes alone', async (t) => {
  const { bus, publisher } = harness({ batchBytes: 100 });
  await publisher.add([
    record('A', 'p', 60),
    record('B', 'p', 40),
    record('C', 'p', 1),
    record('D', 'p', 500),
  ]);
  await publisher.settled();
  t.strictSame(
    bus.taken.map((batch) => batch.records.map(({ key }) => key)),
    [['A', 'B'], ['C'], ['D']],
  );
  await publisher.stop();
});

void test('the queue is bounded: add() waits until there is room in it', async (t) => {
  const { bus, publisher } = harness({ queueRecords: 5, batchRecords: 2 });
  const gate = Promise.withResolvers<void>();
  bus.held = gate.promise;
  let added = false;
  const adding = publisher.add(records(9)).then(() => {
    added = true;
  });
  await bus.attempted(1);
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
  t.equal(added, false);
  t.equal(publisher.queued, 5);
  bus.held = null;
  gate.resolve();
  await adding;
  await publisher.settled();
  t.strictSame(bus.keys(), keysOf(records(9)));
  await publisher.stop();
});

void test('and by bytes', async (t) => {
  const { bus, publisher } = harness({ queueBytes: 100, batchRecords: 1 });
  const gate = Promise.withResolvers<void>();
  bus.held = gate.promise;
  const adding = publisher.add([record('A', 'p', 70), record('B', 'p', 70), record('C', 'p', 70)]);
  await bus.attempted(1);
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
  t.equal(publisher.queued, 2, 'the one that went beyond was taken, the next one waits');
  bus.held = null;
  gate.resolve();
  await adding;
  await publisher.stop();
  t.strictSame(bus.keys(), ['A', 'B', 'C']);
});

void test('a bus that is away or full gets the same batch again until it takes it', async (t) => {
  const { bus, publisher, failures, logs, counts } = harness();
  bus.verdict = (_, index) => (index < 3 ? 'unreachable' : index < 5 ? 'full' : null);
  await publisher.add(records(10));
  await publisher.settled();
  t.strictSame(bus.keys(), keysOf(records(10)));
  t.strictSame(failures, ['unreachable', 'unreachable', 'unreachable', 'full', 'full']);
  t.equal(counts.get('p'), 10, 'counted when they are there, once');
  t.equal(
    logs.filter((message) => /will try again/.test(message)).length,
    1,
    'said once and not at each attempt',
  );
  await publisher.stop();
});

void test('a refused record becomes a dead letter and its neighbours go on, in order', async (t) => {
  const { bus, publisher, counts } = harness();
  bus.verdict = ({ topic, records: batch }) =>
    topic === 'mdp.events' && batch.some(({ key }) => key === 'K13' || key === 'K14') ? 'refused' : null;
  const given = records(40);
  await publisher.add(given);
  await publisher.settled();
  t.strictSame(
    bus.keys(),
    keysOf(given).filter((key) => key !== 'K13' && key !== 'K14'),
  );
  t.equal(counts.get('p'), 38);
  const letters = bus.taken
    .filter(({ topic }) => topic === 'mdp.events.dlq')
    .flatMap((batch) => batch.records);
  t.equal(letters.length, 2);
  t.match(decodeDeadLetter(letters[0].data), {
    topic: 'mdp.events',
    msgId: null,
    reason: 'refused_by_bus',
    key: 'K13',
    raw: given[13].data,
  });
  t.match(letters[0].eventId, /^mdp\.events\|sha256:/);
  await publisher.stop();
});

void test('wrong settings and unknown faults end it: nobody waits for ever', async (t) => {
  for (const verdict of ['setup', 'unknown'] as const) {
    const { bus, publisher } = harness({ queueRecords: 2 });
    bus.verdict = () => verdict;
    await t.rejects(publisher.add(records(5)), verdict === 'setup' ? /scripted: setup/ : /a fault of ours/);
    await t.rejects(publisher.settled());
    await t.rejects(publisher.add(records(1)));
    t.ok((await publisher.stop()) > 0);
  }
});

void test('a topic of dead letters that refuses them ends it too', async (t) => {
  const { bus, publisher } = harness();
  bus.verdict = () => 'refused';
  await publisher.add(records(1));
  await t.rejects(publisher.settled(), /refuses a dead letter/);
  await publisher.stop();
});

void test('it waits while the bus is full', async (t) => {
  const gate = Promise.withResolvers<void>();
  const backpressure = new TestBackpressure(gate.promise);
  const { bus, publisher } = harness({}, backpressure);
  await publisher.add(records(3));
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
  t.equal(bus.attempts.length, 0);
  backpressure.full = false;
  gate.resolve();
  await publisher.settled();
  t.equal(bus.keys().length, 3);
  await publisher.stop();
});

void test('a refusal for want of memory or disk is reported, and so is what was taken after it', async (t) => {
  const backpressure = new TestBackpressure();
  const { bus, publisher } = harness({}, backpressure);
  bus.verdict = (_, index) => (index === 0 ? 'unreachable' : index < 3 ? 'full' : null);
  await publisher.add(records(3));
  await publisher.settled();
  t.strictSame(backpressure.reports, ['full', 'full', 'taken']);
  t.equal(bus.keys().length, 3);
  await publisher.stop();
});

void test('stop() drains what is in the queue', async (t) => {
  const { bus, publisher } = harness({ batchRecords: 10 });
  const gate = Promise.withResolvers<void>();
  bus.held = gate.promise;
  await publisher.add(records(95));
  const stopping = publisher.stop();
  await t.rejects(publisher.add(records(1, 95)), { name: 'PublisherStopped' });
  bus.held = null;
  gate.resolve();
  t.equal(await stopping, 0);
  t.strictSame(bus.keys(), keysOf(records(95)));
});

void test('stop() gives up in the end, and says how many are not known to be there', async (t) => {
  for (const how of ['away', 'silent', 'full'] as const) {
    const backpressure = new TestBackpressure(how === 'full' ? new Promise(() => {}) : null);
    const { bus, publisher, logs } = harness({ drainMs: 5 }, backpressure);
    if (how === 'away') bus.verdict = () => 'unreachable';
    if (how === 'silent') bus.held = new Promise(() => {});
    await publisher.add(records(4));
    const settled = publisher.settled();
    settled.catch(() => {});
    t.equal(await publisher.stop(), 4, how);
    await t.rejects(settled, { name: 'PublisherStopped' });
    t.ok(logs.includes('Events were not published'));
  }
});

void test('whatever the bus does, order is kept and every record is there or a dead letter', async (t) => {
  const verdicts = fc.array(fc.constantFrom<'unreachable' | 'full' | null>('unreachable', 'full', null), {
    maxLength: 30,
  });
  await fc.assert(
    fc.asyncProperty(
      verdicts,
      fc.uniqueArray(fc.nat(59)),
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 1, max: 30 }),
      async (script, poison, batchRecords, queueRecords) => {
        const { bus, publisher } = harness({ batchRecords, queueRecords, backoff: { firstMs: 0, maxMs: 0 } });
        const bad = new Set(poison.map((at) => `K${at}`));
        bus.verdict = ({ topic, records: batch }, index) =>
          script[index] ??
          (topic === 'mdp.events' && batch.some(({ key }) => bad.has(key)) ? 'refused' : null);
        await publisher.add(records(60));
        await publisher.settled();
        await publisher.stop();
        const firsts = [...new Set(bus.keys())];
        const expected = keysOf(records(60)).filter((key) => firsts.includes(key));
        if (firsts.join() !== expected.join()) throw new Error(firsts.join());
        const letters = new Set(
          bus.taken
            .filter(({ topic }) => topic !== 'mdp.events')
            .flatMap((one) => one.records.map(({ key }) => key)),
        );
        if (firsts.length + letters.size !== 60) throw new Error(`${firsts.length} and ${letters.size}`);
      },
    ),
    { numRuns: 60 },
  );
  t.end();
});
