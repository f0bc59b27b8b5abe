import { test } from 'tap';
import { BusError, type Delivery } from '../../../../src/bus/bus.ts';
import type { TickDataRow } from '../../../../src/core/copy/tick-data.ts';
import { decodeDeadLetter } from '../../../../src/core/market/dead-letter.ts';
import type { StoreClient } from '../../../../src/store/store-client.ts';
import { TickConsumer, type TickConsumerOptions } from '../../../../src/stream/ticks/tick-consumer.ts';
import { ScriptedBus } from './scripted-bus.ts';

/** A store whose answers are scripted; what it holds is kept by key. */
class ScriptedStore {
  readonly rows = new Map<string, TickDataRow>();
  readonly batches: number[] = [];
  /** thrown by the writes that hold a tick of this symbol, as often as given */
  readonly failures = new Map<string, { code?: string; times: number }>();
  /** more rows than this at once are refused, with the code of a statement timeout */
  atOnce = Infinity;
  readonly starts = new Map<string, number>();
  readonly jobRuns = {
    start: () => Promise.resolve(1),
    progress: () => Promise.resolve(),
    finish: () => Promise.resolve(),
  };
  readonly busCheckpoints = {
    starting: (_topic: string, _group: string, _partition: number, position: string) => {
      const count = (this.starts.get(position) ?? 0) + 1;
      this.starts.set(position, count);
      return Promise.resolve(count);
    },
  };

  claimGroup(): Promise<void> {
    return Promise.resolve();
  }

  tickWitness(): Promise<'passes' | 'none'> {
    return Promise.resolve(this.rows.size > 0 ? 'passes' : 'none');
  }

  writeTicks(rows: readonly TickDataRow[]): Promise<{ stored: number; known: number; conflicts: number[] }> {
    for (const { symbol } of rows) {
      const failure = this.failures.get(symbol);
      if (failure === undefined || failure.times === 0) continue;
      failure.times -= 1;
      return Promise.reject(Object.assign(new Error('scripted'), { code: failure.code }));
    }
    if (rows.length > this.atOnce)
      return Promise.reject(Object.assign(new Error('canceling statement'), { code: '57014' }));
    this.batches.push(rows.length);
    const conflicts: number[] = [];
    let stored = 0;
    rows.forEach((row, index) => {
      const key = `${row.provider}|${row.symbol}|${row.srcTs}|${row.seq}`;
      const present = this.rows.get(key);
      if (present !== undefined && present.price !== row.price) conflicts.push(index);
      else if (present === undefined) {
        this.rows.set(key, row);
        stored += 1;
      }
    });
    return Promise.resolve({ stored, known: rows.length - stored - conflicts.length, conflicts });
  }
}

let position = 0;

function delivery(event: Record<string, unknown> | string, attempts = 1): Delivery {
  position += 1;
  const text =
    typeof event === 'string'
      ? event
      : JSON.stringify({
          provider: 'p',
          symbol: 'SPY',
          kind: 'tick',
          src_ts: '2025-10-24T14:02:01Z',
          price: 1,
          ...event,
        });
  return {
    topic: 'mdp.events',
    partition: 0,
    position: `${position}-0`,
    takenMs: Date.UTC(2025, 9, 24, 14, 3),
    key: null,
    eventId: null,
    encoding: 'json',
    data: Buffer.from(text),
    attempts,
  };
}

interface Counted {
  name: string;
  labels: Readonly<Record<string, string>>;
}

async function consume(
  batches: Delivery[][],
  options: {
    until: (bus: ScriptedBus) => boolean;
    before?: (bus: ScriptedBus, store: ScriptedStore) => unknown;
  } & Partial<Pick<TickConsumerOptions, 'batchSize' | 'batchMax'>>,
) {
  const bus = new ScriptedBus();
  const store = new ScriptedStore();
  bus.batches.push(...batches);
  options.before?.(bus, store);
  const counts = new Map<string, number>();
  const add = ({ name, labels }: Counted, by: number): void => {
    const key = `${name}{${Object.values(labels).join(',')}}`;
    counts.set(key, (counts.get(key) ?? 0) + by);
  };
  const consumer = new TickConsumer({
    bus,
    storeClient: store as unknown as StoreClient,
    batchSize: options.batchSize ?? 100,
    ...(options.batchMax === undefined ? {} : { batchMax: options.batchMax }),
    meter: {
      count: (name, labels, by = 1) => add({ name, labels }, by),
      set: () => {},
      observe: () => {},
    },
  });
  await consumer.start();
  const endMs = performance.now() + 10_000;
  while (!options.until(bus) && performance.now() < endMs)
    await new Promise((resolve) => setTimeout(resolve, 5));
  await consumer.stop();
  const letters = bus.published.map(({ record }) => decodeDeadLetter(record.data));
  return { bus, store, counts, letters };
}

void test('ticks are stored, bars and replays left to others, and all is acknowledged after it', async (t) => {
  const batch = [
    delivery({ seq: 1 }),
    delivery({ kind: 'bar', interval: '1s', o: 1, h: 1, l: 1, c: 1, v: 1 }),
    delivery({ seq: 2, origin: 'replay', replay_run_id: 4 }),
    delivery({ seq: 3 }),
  ];
  const ids = batch.map(({ position }) => position);
  const { bus, store, counts } = await consume([batch], { until: (bus) => bus.acknowledged.length === 4 });
  t.strictSame(bus.acknowledged, ids);
  t.strictSame(
    [...store.rows.values()].map(({ seq }) => seq),
    [1n, 3n],
  );
  t.equal(counts.get('tick_forward_total{p}'), 2);
  t.equal(counts.get('tick_forward_failures_total{p}'), 0, 'a series from the first tick on');
  t.ok(bus.hasLeft);
});

void test('what is malformed is put aside with its reason before it is acknowledged; its neighbours are stored', async (t) => {
  const bad = [
    delivery('{"price": NaN}'),
    delivery({ price: '1,5' }),
    delivery({ src_ts: '2025-10-24T14:05:00Z' }),
  ];
  const { bus, store, letters, counts } = await consume(
    [[delivery({ seq: 1 }), ...bad, delivery({ seq: 2 })]],
    {
      until: (bus) => bus.acknowledged.length === 5,
    },
  );
  t.equal(store.rows.size, 2);
  t.strictSame(
    letters.map((letter) => [letter?.reason, letter?.msgId, letter?.topic, letter?.group]),
    [
      ['bad_json', bad[0]?.position, 'mdp.events', 'tick-consumer'],
      ['bad_price', bad[1]?.position, 'mdp.events', 'tick-consumer'],
      ['future', bad[2]?.position, 'mdp.events', 'tick-consumer'],
    ],
  );
  t.strictSame(letters[0]?.raw, bad[0]?.data);
  t.ok(bus.published.every(({ topic }) => topic === 'mdp.events.dlq'));
  t.strictSame(bus.calls, ['join', 'publish', 'acknowledge']);
  t.equal(counts.get('errors_total{tick_consumer,future}'), 1);
});

void test('another content for a stored key is a conflict: the stored one stays', async (t) => {
  const { store, letters, counts } = await consume(
    [[delivery({ seq: 1, price: 5 })], [delivery({ seq: 1, price: 6 }), delivery({ seq: 1, price: 5 })]],
    { until: (bus) => bus.acknowledged.length === 3 },
  );
  t.strictSame(
    [...store.rows.values()].map(({ price }) => price),
    [5],
  );
  t.strictSame(
    letters.map((letter) => letter?.reason),
    ['conflict'],
  );
  t.equal(counts.get('tick_collisions_total{}'), 1);
  t.equal(counts.get('tick_forward_failures_total{p}'), 1);
  t.equal(counts.get('tick_forward_total{p}'), 2);
});

void test('a row that the database refuses is found and put aside, its neighbours are stored', async (t) => {
  const batch = Array.from({ length: 16 }, (_, seq) => delivery({ seq, symbol: seq === 11 ? 'BAD' : 'SPY' }));
  const { store, letters } = await consume([batch], {
    until: (bus) => bus.acknowledged.length === 16,
    before: (_bus, store) => store.failures.set('BAD', { code: '23514', times: Infinity }),
  });
  t.equal(store.rows.size, 15);
  t.strictSame(
    letters.map((letter) => [letter?.reason, letter?.detail]),
    [['refused_by_database', '23514: scripted']],
  );
});

void test('outages of store and bus are waited for: nothing is put aside and nothing acknowledged early', async (t) => {
  const { bus, store } = await consume([[delivery({ seq: 1 })]], {
    until: (bus) => bus.acknowledged.length === 1,
    before: (bus, store) => {
      store.failures.set('SPY', { code: '53100', times: 2 });
      bus.failures.set('join', [new BusError('unreachable', 'away')]);
      bus.failures.set('next', [new BusError('unreachable', 'away')]);
      bus.failures.set('acknowledge', [new BusError('unreachable', 'away')]);
    },
  });
  t.equal(store.rows.size, 1);
  t.equal(bus.published.length, 0);
  t.strictSame(bus.calls, ['join fails', 'join', 'next fails', 'acknowledge fails', 'acknowledge']);
});

void test('what waiting does not mend ends the consumer with that error', async (t) => {
  const bus = new ScriptedBus();
  bus.failures.set('join', [new BusError('setup', 'wrong password')]);
  const consumer = new TickConsumer({ bus, storeClient: new ScriptedStore() as unknown as StoreClient });
  await consumer.start();
  await t.rejects(consumer.done, { message: 'wrong password' });
});

void test('a record that came too often is taken alone, and put aside when it was begun three times in vain', async (t) => {
  const suspects = [delivery({ seq: 1 }, 4), delivery({ seq: 2 }, 4), delivery({ seq: 3 }, 4)];
  const { store, letters } = await consume([suspects], {
    until: (bus) => bus.acknowledged.length === 3,
    before: (_bus, store) => store.starts.set(suspects[1]?.position ?? '', 3),
  });
  t.strictSame(store.batches, [1, 1]);
  t.strictSame(
    letters.map((letter) => [letter?.reason, letter?.msgId]),
    [['poison', suspects[1]?.position]],
  );
});

void test('batches grow while full ones come and shrink again', async (t) => {
  const many = Array.from({ length: 100 }, (_, seq) => delivery({ seq }));
  const { store } = await consume([many.slice(0, 70), many.slice(70)], {
    batchSize: 10,
    batchMax: 40,
    until: (bus) => bus.acknowledged.length === 100,
  });
  t.strictSame(store.batches, [10, 20, 40, 30]);
});

void test('what the database does not take in time is stored in parts, and what comes next is read in smaller ones', async (t) => {
  const batches = Array.from({ length: 8 }, (_, batch) =>
    Array.from({ length: 16 }, (_, seq) => delivery({ seq: batch * 16 + seq })),
  );
  const { bus, store, letters, counts } = await consume(batches, {
    until: ({ acknowledged }) => acknowledged.length === 128,
    batchSize: 16,
    before: (_, store) => (store.atOnce = 6),
  });
  t.equal(bus.acknowledged.length, 128);
  t.equal(store.rows.size, 128);
  t.strictSame(letters, []);
  t.ok(Math.max(...store.batches) <= 6);
  // 16 → 8 → 4, and the batch that was read meanwhile
  t.ok((counts.get('retries_total{tick_consumer_database}') ?? 0) <= 8, 'the others are not sent whole');
});
