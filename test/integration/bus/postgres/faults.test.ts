import { testEnv } from '../../../support/bus/env.ts';
import { chown, mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { BusError } from '../../../../src/bus/bus.ts';
import {
  BusHarness,
  collect,
  idsOf,
  insist,
  pendingOf,
  recordsOf,
  sorted,
  TAKEOVER_MS,
} from '../../../conformance/harness.ts';
import { migrateAll, openBus, startPostgresBus, withClient } from '../../../support/bus/postgres-bus.ts';
import { startPostgres } from '../../../support/servers/postgres.ts';
import { smallDisk } from '../../../support/servers/small-disk.ts';

void test('what three members held that were killed comes to those who live', async (t) => {
  const server = await startPostgresBus();
  t.teardown(() => ('stop' in server ? server.stop() : undefined));
  if ('skip' in server) return;
  const harness = new BusHarness(server);
  t.teardown(() => harness.close());
  const topic = harness.topic(3);
  const bus = await harness.bus();
  const keys = ['SPY', 'AAPL', 'MSFT', 'QQQ', 'TSLA', 'GLD'];
  const records = keys.flatMap((key) => recordsOf(key, 200));
  await bus.publish(topic, records);
  const members = ['m1', 'm2', 'm3'];
  const held = await Promise.all(
    members.map((member) => harness.holder({ topic, group: 'g', member, count: 300 })),
  );
  const handedOut = held.flatMap(({ taken }) => taken.map(({ eventId }) => eventId));
  t.equal(new Set(handedOut).size, 900, 'each to one of them');
  await Promise.all(held.map(({ kill }) => kill()));

  // one comes back under its name, another one is new
  const back = await bus.join({ topic, group: 'g', member: 'm2', takeoverMs: TAKEOVER_MS });
  const own = await back.next(300, 0);
  t.same(sorted(idsOf(own)), sorted(held[1].taken.map(({ eventId }) => eventId)), 'its own first');
  const fresh = await (
    await harness.bus()
  ).join({ topic, group: 'g', member: 'm4', takeoverMs: TAKEOVER_MS });
  await back.acknowledge(own);
  const seen = new Set(idsOf(own));
  const enough = (ids: Set<string>): boolean => {
    for (const id of ids) seen.add(id);
    return seen.size === records.length;
  };
  await Promise.all([back, fresh].map((member) => collect(member, enough, { limit: 100 })));
  t.same([...seen].sort(), idsOf(records).sort());
  t.equal(await pendingOf(bus, topic, 'g'), 0);
});

const DISK_BYTES = 64 * 2 ** 20;

void test('a full disk makes publishers wait and costs nothing', async (t) => {
  const server = await startPostgres();
  const disk = await smallDisk(DISK_BYTES, join(server.dataDir, 'pgdata'));
  if (typeof disk === 'string') {
    await server.stop();
    t.pass(`not here: ${disk}`);
    return;
  }
  t.teardown(async () => {
    await server.stop();
    await disk.close();
  });
  const logName = join(disk.folder, 'tables');
  const { uid, gid } = await stat(disk.folder);
  await mkdir(logName);
  await chown(logName, uid, gid);
  await withClient(server.url('postgres'), async (client) => {
    await client.query(`CREATE TABLESPACE small LOCATION '${logName}'`);
    await client.query('CREATE DATABASE bus TABLESPACE small');
  });
  await migrateAll(server.url('bus'));
  const checkpoints = {
    read: async () => null,
    write: async () => {},
    starting: async () => 1,
    drop: async () => {},
  };
  const bus = await openBus(server.url('bus'), {
    partitions: {},
    maxBytes: 2 ** 31,
    clientName: 'test',
    checkpoints,
    env: testEnv(),
  });
  t.teardown(() => bus.close());
  await bus.publish('topic', recordsOf('A', 1000));
  await disk.fill(1 * 2 ** 20);
  let published = 1000;
  let refusal: unknown = null;
  while (refusal === null && published < 200_000) {
    try {
      await bus.publish('topic', recordsOf('A', 1000, published));
      published += 1000;
    } catch (error) {
      refusal = error;
    }
  }
  t.ok(refusal instanceof BusError, String(refusal));
  t.equal((refusal as BusError).kind, 'full', String(refusal));
  const waiting = insist(() => bus.publish('topic', recordsOf('A', 1000, published)));
  await disk.release();
  await waiting;
  const member = await bus.join({ topic: 'topic', group: 'g', member: 'm' });
  const { ids } = await collect(member, (seen) => seen.size === published + 1000, { limit: 5000 });
  t.same(ids, idsOf(recordsOf('A', published + 1000)), 'everything that was taken, once');
});

void test('durability() says what decides it', async (t) => {
  for (const [settings, lossFree, said] of [
    [{ fsync: 'on', full_page_writes: 'on', synchronous_commit: 'off' }, true, /synchronous_commit = on/],
    [{ fsync: 'off', full_page_writes: 'on' }, false, /fsync = off/],
    [{ fsync: 'on', full_page_writes: 'off' }, false, /full_page_writes = off/],
  ] as const) {
    const server = await startPostgres({ settings });
    t.teardown(() => server.stop());
    const checkpoints = {
      read: async () => null,
      write: async () => {},
      starting: async () => 1,
      drop: async () => {},
    };
    const bus = await openBus(server.url('postgres'), {
      partitions: {},
      maxBytes: 2 ** 31,
      clientName: 'test',
      checkpoints,
      env: testEnv(),
    });
    t.teardown(() => bus.close());
    const durability = await bus.durability();
    t.equal(durability.lossFree, lossFree);
    t.match(durability.why, said);
  }
});
