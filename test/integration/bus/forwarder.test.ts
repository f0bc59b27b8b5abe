import { testEnv } from '../../support/bus/env.ts';
import { test } from 'tap';
import type { BusOptions, Delivery } from '../../../src/bus/bus.ts';
import { Forwarder, type ParsedDelivery } from '../../../src/bus/forwarder.ts';
import { PostgresBus } from '../../../src/bus/postgres/bus.ts';
import { partitionOf } from '../../../src/core/bus/partitions.ts';
import { record } from '../../conformance/harness.ts';
import { migrateAll, misplace, withClient } from '../../support/bus/postgres-bus.ts';
import { sharedPostgres } from '../../support/servers/postgres.ts';
import { until } from '../../support/until.ts';

const PARTITIONS = 4;
const KEYS = ['SPY', 'AAPL', 'MSFT', 'QQQ', 'TSLA', 'GLD'];

/** What a role does with a body: these hold their key. */
function parsed(delivery: Delivery): ParsedDelivery {
  const { key, number } = JSON.parse(Buffer.from(delivery.data ?? []).toString()) as {
    key: string | null;
    number: number;
  };
  return { delivery, symbol: key, eventId: key === null ? null : `${key}|${number}` };
}

void test('records of foreign programs reach the owner of their symbol, once and as the same event', async (t) => {
  const server = await sharedPostgres();
  t.teardown(() => server.stop());
  const url = await server.createDatabase('bus', { schema: false });
  await migrateAll(url);
  const options: BusOptions = {
    partitions: { wide: PARTITIONS },
    maxBytes: 2 ** 31,
    clientName: 'test',
    checkpoints: {
      read: async () => null,
      write: async () => {},
      starting: async () => 1,
      drop: async () => {},
    },
    env: testEnv(),
  };
  const bus = new PostgresBus({ ...options, databaseUrl: url });
  t.teardown(() => bus.close());
  // a foreign program that knows no hash: every symbol into partition 1
  const events = KEYS.flatMap((key) =>
    [1, 2].map((number) => ({ key, text: Buffer.from(record(key, number).data).toString() })),
  );
  await withClient(url, (client) =>
    misplace(client, 'wide', 1, [...events, { key: null, text: '{"key":null,"number":0}' }]),
  );
  const forwarder = new Forwarder(bus);
  const seen = new Map<string, number[]>();
  const readers = await Promise.all(
    Array.from({ length: PARTITIONS }, (_, partition) =>
      bus.openPartition({ topic: 'wide', group: 'own', member: 'm', partition, after: null }),
    ),
  );
  await until('all are where they belong', async () => {
    for (const [partition, reader] of readers.entries()) {
      const { kept } = await forwarder.forward((await reader.next(100, 0)).map(parsed));
      for (const { eventId } of kept)
        seen.set(eventId ?? 'none', [...(seen.get(eventId ?? 'none') ?? []), partition]);
    }
    return seen.size === KEYS.length * 2 + 1;
  });
  for (const key of KEYS) {
    for (const number of [1, 2]) {
      t.same(seen.get(`${key}|${number}`), [partitionOf(key, PARTITIONS)], `${key} ${number}`);
    }
  }
  t.same(seen.get('none'), [1], 'one without a symbol stays');
  const misplaced = KEYS.filter((key) => partitionOf(key, PARTITIONS) !== 1).length * 2;
  t.ok(misplaced > 0);
  t.equal(forwarder.count, misplaced);
  const stored = await Promise.all(readers.map((_, partition) => bus.read('wide', partition, null, 100)));
  const copies = stored.flat().filter(({ eventId }) => eventId !== null);
  t.equal(copies.length, misplaced, 'those that were forwarded carry their eventId');

  // a member of a shared group forwards and acknowledges
  const member = await bus.join({ topic: 'wide', group: 'shared', member: 'm' });
  const all = await member.next(1000, 0);
  const before = forwarder.count;
  const { kept, moved } = await forwarder.forward(all.map(parsed));
  t.equal(moved.length, misplaced);
  t.equal(forwarder.count, before + misplaced);
  await member.acknowledge([...kept, ...moved].map(({ delivery }) => delivery));
  t.equal((await forwarder.forward((await member.next(1000, 0)).map(parsed))).moved.length, 0, 'never twice');
});

void test('when they cannot be forwarded nothing is said to be done', async (t) => {
  const failing = {
    partitions: () => PARTITIONS,
    publish: async () => {
      throw new Error('full');
    },
  };
  const forwarder = new Forwarder(failing as unknown as PostgresBus);
  const delivery: Delivery = {
    topic: 'wide',
    partition: (partitionOf('SPY', PARTITIONS) + 1) % PARTITIONS,
    position: '1',
    takenMs: 0,
    key: 'SPY',
    eventId: null,
    encoding: 'json',
    data: Buffer.from('{}'),
    attempts: 1,
  };
  await t.rejects(forwarder.forward([{ delivery, symbol: 'SPY', eventId: 'SPY|1' }]), /full/);
  t.equal(forwarder.count, 0);
  const lost = { ...delivery, data: null };
  t.same(
    (await forwarder.forward([{ delivery: lost, symbol: 'SPY', eventId: null }])).moved,
    [],
    'no body, no use',
  );
});
