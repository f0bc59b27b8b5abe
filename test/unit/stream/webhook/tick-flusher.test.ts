import { test } from 'tap';
import { BusError, type Delivery } from '../../../../src/bus/bus.ts';
import { decodeDeadLetter } from '../../../../src/core/market/dead-letter.ts';
import { parseWebhookBody, type WebhookTick } from '../../../../src/core/market/webhook-tick.ts';
import type { StoreClient } from '../../../../src/store/store-client.ts';
import { TickFlusher, type TickFlusherOptions } from '../../../../src/stream/webhook/tick-flusher.ts';
import { until } from '../../../support/until.ts';
import { ScriptedBus } from '../ticks/scripted-bus.ts';

/** A store whose rows are kept by key. */
class ScriptedStore {
  readonly rows = new Map<string, WebhookTick>();
  readonly batches: number[] = [];
  readonly mdTicks = {
    witness: () => Promise.resolve('passes' as const),
    write: (ticks: readonly WebhookTick[]) => {
      this.calls.push('commit');
      this.batches.push(ticks.length);
      const conflicts: number[] = [];
      let stored = 0;
      ticks.forEach((tick, index) => {
        const present = this.rows.get(tick.eventId);
        if (present === undefined) {
          this.rows.set(tick.eventId, tick);
          stored += 1;
        } else if (present.price !== tick.price) conflicts.push(index);
      });
      return Promise.resolve({ stored, known: ticks.length - stored - conflicts.length, conflicts });
    },
  };
  readonly jobRuns = {
    start: () => Promise.resolve(1),
    progress: () => Promise.resolve(),
    finish: () => Promise.resolve(),
  };
  readonly calls: string[];

  constructor(calls: string[]) {
    this.calls = calls;
  }

  claimGroup(): Promise<void> {
    return Promise.resolve();
  }
}

let position = 0;

function delivery(changes: Record<string, unknown> = {}): Delivery {
  position += 1;
  const fields = {
    symbol: 'A',
    ts: '2025-10-31T10:00:00Z',
    price: '1.50',
    volume: '2',
    source: 'f',
    seq: position,
  };
  return {
    topic: 'ticks.received',
    partition: 0,
    position: `${position}-0`,
    takenMs: Date.UTC(2025, 9, 31, 10),
    key: null,
    eventId: null,
    encoding: 'json',
    data: Buffer.from(JSON.stringify({ ...fields, ...changes })),
    attempts: 1,
  };
}

const some = (count: number): Delivery[] => Array.from({ length: count }, () => delivery());

interface Flushing {
  bus: ScriptedBus;
  store: ScriptedStore;
  flusher: TickFlusher;
}

/** An interval that no test waits for: what is stored was so for another reason. */
const NEVER_MS = 3_600_000;

async function flushing(batches: Delivery[][], options: Partial<TickFlusherOptions> = {}): Promise<Flushing> {
  const bus = new ScriptedBus();
  const store = new ScriptedStore(bus.calls);
  bus.batches.push(...batches);
  const flusher = new TickFlusher({
    bus,
    storeClient: store as unknown as StoreClient,
    flushIntervalMs: NEVER_MS,
    ...options,
  });
  await flusher.start();
  return { bus, store, flusher };
}

const acknowledged = ({ bus }: Flushing, count: number): Promise<boolean> =>
  until(`${count} are acknowledged`, () => bus.acknowledged.length >= count);

void test('so many ticks are stored without waiting, together', async (t) => {
  const run = await flushing([some(3), some(2), some(2), some(1)], { batchSize: 7 });
  await acknowledged(run, 7);
  t.strictSame(run.store.batches, [7]);
  await until('the last one is read', () => run.bus.batches.length === 0);
  await run.flusher.stop();
  t.strictSame(run.store.batches, [7, 1], 'and at the end what is in hand');
  t.equal(run.bus.acknowledged.length, 8);
});

void test('after the interval what there is', async (t) => {
  const run = await flushing([some(3)], { flushIntervalMs: 20 });
  await acknowledged(run, 3);
  t.strictSame(run.store.batches, [3]);
  await run.flusher.stop();
});

void test('batches grow while more is there than was asked for', async (t) => {
  const run = await flushing([some(1_000)], { batchSize: 100, batchMax: 400, flushIntervalMs: 20 });
  await acknowledged(run, 1_000);
  t.strictSame(run.store.batches, [100, 200, 400, 300]);
  await run.flusher.stop();
});

void test('a bus that goes away does not keep back what is in hand', async (t) => {
  const run = await flushing([some(3)]);
  await until('they are read', () => run.bus.batches.length === 0);
  run.bus.failures.set('next', [new BusError('unreachable', 'scripted')]);
  await acknowledged(run, 3);
  t.strictSame(run.store.batches, [3]);
  await run.flusher.stop();
});

void test('commit, events, dead letters, then the acknowledgement', async (t) => {
  const first = delivery({ seq: 1 });
  const batch = [
    first,
    delivery({ seq: 1, price: '9' }),
    delivery({ price: 'x' }),
    delivery({ symbol: 'B' }),
  ];
  const run = await flushing([batch], {
    batchSize: 4,
    forward: { topic: 'mdp.events', encoding: 'json' },
  });
  await acknowledged(run, 4);
  await run.flusher.stop();
  t.strictSame(run.bus.calls, ['join', 'commit', 'publish', 'publish', 'acknowledge']);
  const published = run.bus.published.map(({ topic, record }) => ({
    topic,
    what: topic === 'mdp.events' ? record.eventId : decodeDeadLetter(record.data)?.reason,
  }));
  const [one] = ticksOf([first]);
  t.strictSame(published.slice(0, 1), [{ topic: 'mdp.events', what: one.eventId }]);
  t.strictSame(
    published.map(({ topic }) => topic),
    ['mdp.events', 'mdp.events', 'mdp.events.dlq', 'mdp.events.dlq'],
    'a conflict is no event',
  );
  t.strictSame(new Set(published.slice(2).map(({ what }) => what)), new Set(['bad_price', 'conflict']));
});

function ticksOf(deliveries: readonly Delivery[]): WebhookTick[] {
  return deliveries.flatMap(({ data }) => {
    const found = parseWebhookBody(Buffer.from(data ?? []).toString());
    return found.kind === 'ticks' ? found.ticks : [];
  });
}

void test('nothing is acknowledged before its event is on the bus', async (t) => {
  const bus = { full: 0, taken: 0 };
  const run = await flushing([], {
    batchSize: 2,
    forward: { topic: 'mdp.events', encoding: 'json' },
    backpressure: {
      full: false,
      relieved: () => Promise.resolve(),
      reportFull: () => (bus.full += 1),
      reportTaken: () => (bus.taken += 1),
    },
  });
  run.bus.failures.set('publish', [
    new BusError('full', 'scripted'),
    new BusError('unreachable', 'scripted'),
  ]);
  run.bus.batches.push(some(2));
  await acknowledged(run, 2);
  t.strictSame(run.bus.calls, ['join', 'commit', 'publish fails', 'publish fails', 'publish', 'acknowledge']);
  t.strictSame(bus, { full: 1, taken: 1 });
  await run.flusher.stop();
});

void test('an entry whose body is lost is acknowledged', async (t) => {
  const run = await flushing([[{ ...delivery(), data: null }, delivery()]], { batchSize: 2 });
  await acknowledged(run, 2);
  t.strictSame(run.store.batches, [1]);
  await run.flusher.stop();
});
