import { test } from 'tap';
import type { GroupInfo, PartitionReader } from '../../../../src/bus/bus.ts';
import { parseWebhookBody, type WebhookTick } from '../../../../src/core/market/webhook-tick.ts';
import {
  IntakeError,
  TickIntake,
  type TickIntakeOptions,
} from '../../../../src/stream/webhook/tick-intake.ts';
import { PublishBus, TestBackpressure } from '../../../support/bus/publish-bus.ts';

function ticks(symbol: string, count = 1): WebhookTick[] {
  const list = Array.from({ length: count }, (_, seq) => ({
    symbol,
    ts: '2025-10-31T10:00:00Z',
    price: '1.50',
    volume: '2',
    source: 'feeder',
    seq,
  }));
  const found = parseWebhookBody(JSON.stringify(list));
  if (found.kind === 'refused') throw new Error(JSON.stringify(found.problems));
  return found.ticks;
}

/** PublishBus with groups. */
class IntakeBus extends PublishBus {
  readonly made: { group: string; partition: number; published: number }[] = [];
  there: number[] = [];
  failures = 0;
  partitionCount = 1;

  partitions(): number {
    return this.partitionCount;
  }

  groups(): Promise<GroupInfo[]> {
    if (this.failures > 0) {
      this.failures -= 1;
      return Promise.reject(new Error('scripted'));
    }
    return Promise.resolve(
      this.there.map((partition) => ({ group: 'tick-flusher', partition }) as GroupInfo),
    );
  }

  openPartition({ group, partition }: { group: string; partition: number }): Promise<PartitionReader> {
    this.made.push({ group, partition, published: this.attempts.length });
    return Promise.resolve({ close: () => Promise.resolve() } as PartitionReader);
  }
}

function intake(bus: IntakeBus, options: Partial<TickIntakeOptions> = {}): TickIntake {
  return new TickIntake({
    bus,
    backpressure: new TestBackpressure(),
    ...options,
  });
}

const sizes = (bus: IntakeBus): number[] => bus.taken.map(({ records }) => records.length);

void test('the group is there before anything is published, and is made once', async (t) => {
  const bus = new IntakeBus();
  bus.partitionCount = 3;
  bus.there = [1];
  const made = intake(bus);
  await made.accept(ticks('A'));
  await made.accept(ticks('B'));
  t.strictSame(bus.made, [
    { group: 'tick-flusher', partition: 0, published: 0 },
    { group: 'tick-flusher', partition: 2, published: 0 },
  ]);
  t.strictSame(bus.keys('ticks.received'), ['A', 'B']);
  t.strictSame(
    bus.taken.map(({ records: [{ eventId, encoding }] }) => [eventId, encoding]),
    [
      ['feeder|A|2025-10-31T10:00:00.000000Z|0', 'json'],
      ['feeder|B|2025-10-31T10:00:00.000000Z|0', 'json'],
    ],
  );
});

void test('while the group cannot be made nothing is kept, and the next request tries again', async (t) => {
  const bus = new IntakeBus();
  bus.failures = 1;
  const made = intake(bus);
  await t.rejects(made.accept(ticks('A')), { name: 'IntakeError', kind: 'unreachable' });
  await made.accept(ticks('A'));
  t.strictSame(sizes(bus), [1]);
});

void test('requests that come while publishes are under way share the next one', async (t) => {
  const bus = new IntakeBus();
  const made = intake(bus, { limits: { publishes: 1 } });
  await made.accept(ticks('A'));
  const gate = Promise.withResolvers<void>();
  bus.held = gate.promise;
  const first = made.accept(ticks('B'));
  await bus.attempted(2);
  bus.held = null;
  const others = Array.from({ length: 50 }, (_, at) => made.accept(ticks(`S${at}`, 2)));
  t.equal(made.waiting, 101);
  gate.resolve();
  await Promise.all([first, ...others]);
  t.strictSame(sizes(bus), [1, 1, 100]);
  t.equal(made.waiting, 0);
});

void test('a request resolves when its last record is on the bus', async (t) => {
  const bus = new IntakeBus();
  const made = intake(bus, { limits: { batchRecords: 10, publishes: 2 } });
  await Promise.all([made.accept(ticks('A', 25)), made.accept(ticks('B', 5))]);
  t.strictSame(sizes(bus), [10, 10, 10]);
  t.equal(bus.keys('ticks.received').length, 30);
  bus.verdict = (_, index) => (index === 4 ? 'unreachable' : null);
  await t.rejects(
    made.accept(ticks('C', 25)),
    { name: 'IntakeError', kind: 'unreachable' },
    'one of its publishes failed',
  );
});

void test('what the bus says decides what the caller is told', async (t) => {
  for (const [verdict, kind] of [
    ['full', 'full'],
    ['unreachable', 'unreachable'],
    ['setup', 'setup'],
    ['refused', 'setup'],
    ['unknown', 'unreachable'],
  ] as const) {
    const bus = new IntakeBus();
    const backpressure = new TestBackpressure();
    bus.verdict = () => verdict;
    const made = intake(bus, { backpressure });
    await t.rejects(made.accept(ticks('A')), { name: 'IntakeError', kind }, verdict);
    t.strictSame(backpressure.reports, verdict === 'full' ? ['full'] : []);
    bus.verdict = () => null;
    await made.accept(ticks('A'));
    t.equal(backpressure.reports.at(-1), 'taken');
  }
});

void test('a full bus, or a full queue, refuses at once', async (t) => {
  const full = new IntakeBus();
  await t.rejects(
    intake(full, { backpressure: new TestBackpressure(Promise.resolve()) }).accept(ticks('A')),
    { name: 'IntakeError', kind: 'full' },
  );
  t.equal(full.attempts.length, 0);

  const bus = new IntakeBus();
  const gate = Promise.withResolvers<void>();
  bus.held = gate.promise;
  const made = intake(bus, { limits: { queueTicks: 10 } });
  const large = made.accept(ticks('A', 11));
  await t.rejects(
    made.accept(ticks('B')),
    { name: 'IntakeError', kind: 'full' },
    'what waits is more than the queue holds',
  );
  gate.resolve();
  await large;
  await made.accept(ticks('B'));
});

void test('a bus that does not answer: the request is refused in time, and leaves nothing behind', async (t) => {
  const bus = new IntakeBus();
  const gate = Promise.withResolvers<void>();
  bus.held = gate.promise;
  const made = intake(bus, { limits: { publishes: 1, answerMs: 30 } });
  await Promise.all(
    ['A', 'B', 'C'].map((symbol) =>
      t.rejects(made.accept(ticks(symbol)), { name: 'IntakeError', kind: 'timeout' }, symbol),
    ),
  );
  t.equal(made.waiting, 0);
  bus.held = null;
  gate.resolve();
  await made.accept(ticks('D'));
  t.strictSame(bus.keys('ticks.received'), ['A', 'D'], 'what was not under way is not published any more');
});

void test('stop answers what is in hand and takes nothing more', async (t) => {
  const bus = new IntakeBus();
  const gate = Promise.withResolvers<void>();
  bus.held = gate.promise;
  const made = intake(bus, { limits: { publishes: 1, batchRecords: 1 } });
  const accepted = Promise.all([made.accept(ticks('A')), made.accept(ticks('B'))]);
  const stopped = made.stop();
  await t.rejects(made.accept(ticks('C')), IntakeError);
  gate.resolve();
  await Promise.all([accepted, stopped]);
  t.strictSame(bus.keys('ticks.received'), ['A', 'B']);
});
