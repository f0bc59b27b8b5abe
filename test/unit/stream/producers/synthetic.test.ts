import { test } from 'tap';
import { PUBLISHER_LIMITS } from '../../../../src/bus/publisher.ts';
import { decodeEvent } from '../../../../src/core/market/codec/decode.ts';
import type { TickEvent } from '../../../../src/core/market/event.ts';
import { SyntheticTicks } from '../../../../src/core/market/synthetic/synthetic.ts';
import { systemClock } from '../../../../src/core/time.ts';
import {
  SyntheticProducer,
  type SyntheticProducerOptions,
} from '../../../../src/stream/producers/synthetic.ts';
import { TestMeter } from '../../../support/bus/meter.ts';
import { PublishBus, TestBackpressure } from '../../../support/bus/publish-bus.ts';

const GENERATOR = {
  seed: '1',
  provider: 'synthetic',
  symbols: ['SPY', 'AAPL', 'MSFT'],
  tickRate: 1,
  priceVolatility: 0.02,
  spreadBps: 2,
  priceStep: { step: 1, decimals: 2 },
};
const START = 1_755_945_303_178_360n;

function harness(options: Partial<SyntheticProducerOptions> = {}): {
  bus: PublishBus;
  meter: TestMeter;
  logs: string[];
  producer: SyntheticProducer;
} {
  const bus = new PublishBus();
  const meter = new TestMeter();
  const logs: string[] = [];
  const producer = new SyntheticProducer({
    bus,
    meter,
    env: { log: (_, message) => logs.push(message) },
    generator: GENERATOR,
    rate: 0,
    count: 1000,
    startMicros: START,
    limits: { ...PUBLISHER_LIMITS, backoff: { firstMs: 1, maxMs: 2 }, drainMs: 20 },
    ...options,
  });
  return { bus, meter, logs, producer };
}

const events = (bus: PublishBus): TickEvent[] =>
  bus.taken.flatMap(({ records }) =>
    records.map(({ data, encoding }) => decodeEvent(data, encoding) as TickEvent),
  );
const INGESTED = 'stream_events_ingested_total{bus=redis,topic=mdp.events,provider=synthetic}';

void test('a burst publishes what the generator makes, in its order, and ends after count', async (t) => {
  for (const encoding of ['json', 'msgpack'] as const) {
    const { bus, meter, producer } = harness({ encoding, count: 12_345 });
    await producer.start();
    await producer.done;
    const ticks = new SyntheticTicks({ ...GENERATOR, startMicros: START });
    t.strictSame(
      events(bus).map((event) => ({ ...event, ingestTs: null })),
      Array.from({ length: 12_345 }, () => ticks.next()),
    );
    t.equal(meter.values.get(INGESTED), 12_345);
    t.strictSame(producer.progress, { published: 12_345, queued: 0 });
    t.ok(
      bus.taken.flatMap(({ records }) => records).every(({ key, eventId }) => eventId?.split('|')[1] === key),
    );
  }
});

void test('events go out under the names that their consumers store', async (t) => {
  const [symbol] = GENERATOR.symbols;
  const { bus, producer } = harness({
    count: 100,
    providers: { synthetic: { symbols: { [symbol]: 'X 1' } } },
  });
  await producer.start();
  await producer.done;
  const ticks = new SyntheticTicks({ ...GENERATOR, startMicros: START });
  const names = Array.from({ length: 100 }, () => ticks.next().symbol).map((name) =>
    name === symbol ? 'X 1' : name,
  );
  t.ok(names.includes('X 1'));
  t.strictSame(
    events(bus).map((event) => [event.symbol, event.eventId.split('|')[1]]),
    names.map((name) => [name, name]),
  );
  t.strictSame(
    bus.taken.flatMap(({ records }) => records.map(({ key }) => key)),
    names,
  );
});

void test('by the clock, no event is published before its time, and none is late for a timer', async (t) => {
  const { bus, producer } = harness({ rate: 3000, count: 600, startMicros: null });
  const began = systemClock.nowMicros();
  await producer.start();
  await producer.done;
  const found = events(bus);
  t.equal(found.length, 600);
  t.ok(
    found.every(({ srcTs, ingestTs }) => ingestTs !== null && ingestTs >= srcTs),
    'not before its time',
  );
  const spanMs = Number(found.at(-1)!.srcTs - began) / 1000;
  t.ok(spanMs > 100 && spanMs < 400, `600 events of 3,000 a second span ${spanMs} ms of event time`);
});

void test('what a full bus held up is published, with the times that it had', async (t) => {
  const gate = Promise.withResolvers<void>();
  const backpressure = new TestBackpressure(gate.promise);
  const { bus, producer } = harness({ rate: 5000, count: 50, startMicros: null, backpressure });
  await producer.start();
  while (producer.progress.queued < 50) await new Promise((resolve) => setImmediate(resolve));
  t.equal(bus.taken.length, 0);
  backpressure.full = false;
  gate.resolve();
  await producer.done;
  t.equal(events(bus).length, 50);
});

void test('a burst that has an end is made to end about now', async (t) => {
  const { bus, producer } = harness({ count: 500, startMicros: null });
  await producer.start();
  await producer.done;
  const ages = events(bus).map(({ srcTs }) => Number(systemClock.nowMicros() - srcTs) / 1e6);
  t.ok(ages[0] > 166 && ages[0] < 250, `${ages[0]} s ago, of 500 events at 3 a second`);
  t.ok(
    ages.every((age) => age > 0),
    'none lies in the future',
  );
});

void test('stop() ends it at once, also when the bus is away or full, and twice or before start()', async (t) => {
  for (const trouble of ['none', 'away', 'full', 'silent'] as const) {
    const backpressure = new TestBackpressure(trouble === 'full' ? new Promise(() => {}) : null);
    const { bus, producer, logs } = harness({ count: null, backpressure });
    if (trouble === 'away') bus.verdict = () => 'unreachable';
    if (trouble === 'silent') bus.held = new Promise(() => {});
    await producer.start();
    await new Promise((resolve) => setImmediate(resolve));
    await Promise.all([producer.stop(), producer.stop()]);
    await producer.done;
    t.equal(logs.includes('Events were not published'), trouble !== 'none', trouble);
  }
  const { producer } = harness();
  await producer.stop();
  await producer.start();
  await producer.done;
  t.equal(producer.progress.published, 0);
});

void test('a bus that is set up wrongly ends it with the reason', async (t) => {
  const { bus, producer } = harness();
  bus.verdict = () => 'setup';
  await producer.start();
  await t.rejects(producer.done, /scripted: setup/);
});

void test('options that cannot be used are refused before anything starts', (t) => {
  t.throws(() => harness({ generator: { ...GENERATOR, symbols: [] } }), /no symbols/);
  t.end();
});
