import { systemClock } from '../../../../src/core/time.ts';
import { testEnv } from '../../../support/bus/env.ts';
import type { LogLine } from '../../../../src/core/env.ts';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { test, type Test } from 'tap';
import type { BusOptions, Delivery, StreamBus } from '../../../../src/bus/bus.ts';
import { openRedisBus } from '../../../../src/bus/redis/bus.ts';
import { readConsumers } from '../../../../src/bus/redis/replies.ts';
import { RedisTakeover } from '../../../../src/bus/redis/group/takeover.ts';
import { collect, idsOf, insist, pendingOf, recordsOf, sorted } from '../../../conformance/harness.ts';
import { FileCheckpoints } from '../../../support/bus/file-checkpoints.ts';
import { TcpProxy } from '../../../support/servers/proxy.ts';
import { redisMissing, startRedis, type TestRedis } from '../../../support/servers/redis.ts';
import { until } from '../../../support/until.ts';

const skip = redisMissing() ?? false;
const topic = 'mdp.events';

interface Harness {
  redis: TestRedis;
  checkpoints: FileCheckpoints;
  said: { level: string; message: string; fields: Record<string, unknown> }[];
  open: (overrides?: Partial<BusOptions>, uri?: string) => Promise<StreamBus>;
}

async function harnessFor(t: Test): Promise<Harness> {
  const redis = await startRedis();
  const folder = mkdtempSync(join(tmpdir(), 'redis-marks-'));
  const checkpoints = new FileCheckpoints(folder);
  const buses: StreamBus[] = [];
  const said: Harness['said'] = [];
  const log: LogLine = (level, message, fields) => said.push({ level, message, fields });
  t.teardown(async () => {
    await Promise.all(buses.map((bus) => bus.close()));
    await redis.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  return {
    redis,
    checkpoints,
    said,
    async open(overrides = {}, uri = redis.uri) {
      const bus = await openRedisBus(uri, {
        partitions: {},
        maxBytes: 2 ** 31,
        clientName: 'integration',
        checkpoints,
        env: testEnv({ log }),
        ...overrides,
      });
      buses.push(bus);
      return bus;
    },
  };
}

/** Calls of a command that the server has counted. */
async function callsOf(redis: TestRedis, command: string): Promise<number> {
  const stats = await redis.cli('INFO', 'commandstats');
  return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
}

void test('a group that somebody destroyed is made again at its checkpoint', { skip }, async (t) => {
  const { redis, checkpoints, open, said } = await harnessFor(t);
  const bus = await open();
  const positions = await bus.publish(topic, recordsOf('A', 60));
  const member = await bus.join({ topic, group: 'g', member: 'm' });
  const { all } = await collect(member, (ids) => ids.size === 40, { limit: 40, acknowledge: false });
  await member.acknowledge(all.slice(0, 30));
  await until('the checkpoint lies below what is pending', async () => {
    const checkpoint = await checkpoints.position(topic, 'g', 0);
    return checkpoint !== null && bus.compare(checkpoint, positions[29]) >= 0;
  });
  const waiting = member.next(1, 0);
  await waiting;
  t.equal(await redis.cli('XGROUP', 'DESTROY', topic, 'g'), '1');
  const { ids } = await collect(member, (seen) => seen.has('A|59'));
  t.same(
    sorted(ids),
    sorted(idsOf(recordsOf('A', 30, 30))),
    'everything that was not acknowledged, nothing else',
  );
  t.equal(await pendingOf(bus, topic, 'g'), 0);
  t.equal(said.filter(({ level }) => level === 'warn').length, 1, 'said once');
  t.match(said[0], { fields: { group: 'g', topic } });
});

void test('without a checkpoint it is made again at the beginning, never at the end', { skip }, async (t) => {
  const { redis, checkpoints, open } = await harnessFor(t);
  const bus = await open();
  const member = await bus.join({ topic, group: 'g', member: 'm' });
  const collecting = collect(member, (ids) => ids.has('A|19'));
  await until('it waits', async () => (await redis.cli('CLIENT', 'LIST')).includes('flags=b'));
  await redis.cli('XGROUP', 'DESTROY', topic, 'g');
  await bus.publish(topic, recordsOf('A', 20));
  t.same((await collecting).ids, idsOf(recordsOf('A', 20)));
  await member.leave();
  // a checkpoint of another life of the stream: beyond its newest entry
  const id = (await redis.cli('GET', `${topic}.id`)).trim();
  t.match(id, /^[0-9a-f-]{36}$/);
  await checkpoints.write(topic, 'g', 0, `redis:${id}|99999999999999-0`);
  await bus.dropGroup(topic, 'g');
  const again = await bus.join({ topic, group: 'g', member: 'm' });
  t.same((await collect(again, (ids) => ids.size === 20)).ids, idsOf(recordsOf('A', 20)));
});

void test(
  'FLUSHALL under a waiting member and a waiting partition: both go on with what comes',
  { skip },
  async (t) => {
    const { redis, open } = await harnessFor(t);
    const bus = await open();
    await bus.publish(topic, recordsOf('A', 20));
    const member = await bus.join({ topic, group: 'g', member: 'm' });
    await collect(member, (ids) => ids.size === 20);
    const reader = await bus.openPartition({ topic, group: 'bars', member: 'm', partition: 0, after: null });
    const before = await reader.next(100, 1000);
    const seen: Delivery[] = [];
    const reading = until('the reader goes on', async () => {
      seen.push(...(await insist(() => reader.next(100, 200))));
      return seen.length >= 20;
    });
    const collecting = collect(member, (ids) => ids.has('A|39'));
    await until('both wait', async () => (await redis.cli('CLIENT', 'LIST')).match(/flags=b/g)?.length === 2);
    await redis.cli('FLUSHALL');
    const positions = await bus.publish(topic, recordsOf('A', 20, 20));
    t.same((await collecting).ids, idsOf(recordsOf('A', 20, 20)));
    await reading;
    t.same(idsOf(seen), idsOf(recordsOf('A', 20, 20)));
    t.equal(before.length, 20);
    await reader.release(positions.at(-1)!);
    const infos = await bus.groups(topic);
    t.same(infos.map(({ group }) => group).sort(), ['bars', 'g'], 'both groups are there again');
    t.ok(infos.every(({ acknowledged }) => acknowledged === positions.at(-1)));
  },
);

void test('a stream that is evicted again and again makes no hot loop', { skip }, async (t) => {
  const { redis, open } = await harnessFor(t);
  const bus = await open();
  const member = await bus.join({ topic, group: 'g', member: 'm' });
  const over = new AbortController();
  const asking = (async () => {
    while (!over.signal.aborted) await member.next(10, 100);
  })();
  let deletions = 0;
  const before = await callsOf(redis, 'xreadgroup');
  while (deletions < 200) {
    await redis.cli('DEL', topic);
    deletions += 1;
  }
  over.abort();
  await asking;
  const calls = (await callsOf(redis, 'xreadgroup')) - before;
  t.ok(calls < deletions * 2, `${calls} reads while the stream vanished ${deletions} times`);
  await bus.publish(topic, recordsOf('A', 5));
  t.same((await collect(member, (ids) => ids.size === 5)).ids, idsOf(recordsOf('A', 5)));
});

void test('entries deleted while they were pending come without a body', { skip }, async (t) => {
  const { redis, open } = await harnessFor(t);
  const first = await open();
  const positions = await first.publish(topic, recordsOf('A', 10));
  const dying = await first.join({ topic, group: 'g', member: 'm', takeoverMs: 500 });
  await collect(dying, (ids) => ids.size === 10, { acknowledge: false });
  await first.close();
  await redis.cli('XDEL', topic, positions[2], positions[7]);
  const bus = await open();
  const restarted = await bus.join({ topic, group: 'g', member: 'm', takeoverMs: 500 });
  const own = await restarted.next(5, 1000);
  t.same(
    own.map(({ data }) => data === null),
    [false, false, true, false, false],
  );
  t.match(own[2], { position: positions[2], eventId: null, attempts: 2 });
  await restarted.acknowledge(own);
  await bus.close();
  const other = await open();
  const heir = await other.join({ topic, group: 'g', member: 'heir', takeoverMs: 500 });
  const { all } = await collect(heir, (ids) => ids.size === 5, { acknowledge: false });
  t.same(
    all.map(({ position }) => position),
    positions.slice(5),
  );
  t.equal(all[2].data, null);
  await heir.acknowledge(all);
  t.equal(await pendingOf(other, topic, 'g'), 0);
});

void test('a connection that is half open is given up and made again', { skip }, async (t) => {
  const { redis, open } = await harnessFor(t);
  const proxy = await TcpProxy.start(`127.0.0.1:${redis.port}`);
  t.teardown(() => proxy.stop());
  const bus = await open({}, `redis://${proxy.address}/0`);
  const direct = await open();
  const member = await bus.join({ topic, group: 'g', member: 'm' });
  await collect(member, (ids) => ids.size === 0);
  await member.next(1, 0);
  const before = proxy.counts.connections;
  proxy.blackHole();
  const collecting = collect(member, (ids) => ids.size === 50);
  const publishing = insist(() => bus.publish(topic, recordsOf('A', 50)));
  await until('the read is given up', () => proxy.counts.connections > before);
  proxy.heal();
  await publishing;
  t.same(sorted((await collecting).ids), sorted(idsOf(recordsOf('A', 50))));
  await until('pending 0', async () => {
    await insist(async () => member.acknowledge(await member.next(10, 100)));
    return (await pendingOf(direct, topic, 'g')) === 0;
  });
});

void test('a dead member’s entries go to one heir each', { skip }, async (t) => {
  const { open } = await harnessFor(t);
  const dead = await open();
  await dead.publish(topic, recordsOf('A', 3000));
  const dying = await dead.join({ topic, group: 'g', member: 'dead', takeoverMs: 400 });
  await collect(dying, (ids) => ids.size === 3000, { acknowledge: false });
  await dead.close();
  const seen: string[] = [];
  const heirs = await Promise.all(
    ['h1', 'h2', 'h3'].map(async (member) =>
      (await open()).join({ topic, group: 'g', member, takeoverMs: 400 }),
    ),
  );
  await Promise.all(
    heirs.map((heir) =>
      until(
        'all of them',
        async () => {
          const batch = await heir.next(150, 100);
          t.ok(batch.every(({ attempts }) => attempts === 2));
          seen.push(...idsOf(batch));
          await heir.acknowledge(batch);
          return seen.length >= 3000;
        },
        { progress: () => seen.length },
      ),
    ),
  );
  t.same([...seen].sort(), idsOf(recordsOf('A', 3000)).sort(), 'each exactly once');
});

void test('what redis-cli adds is accepted as specified', { skip }, async (t) => {
  const { redis, open } = await harnessFor(t);
  await redis.cli('XADD', topic, '*', 'event_id', 'p|SPY|t|1', 'data', '{"price":1}');
  await redis.cli('XADD', topic, '*', 'data', '{"price":2}');
  await redis.cli('XADD', topic, '*', 'data', '\u0081', 'enc', 'msgpack');
  await redis.cli('XADD', topic, '*', 'symbol', 'SPY', 'price', '"3"');
  await redis.cli('XADD', topic, '5000000000000-18446744073709551614', 'data', '');
  const bus = await open();
  const deliveries = await bus.read(topic, 0, null, 10);
  t.same(
    deliveries.map(({ eventId, encoding, data }) => [eventId, encoding, Buffer.from(data ?? []).toString()]),
    [
      ['p|SPY|t|1', 'json', '{"price":1}'],
      [null, 'json', '{"price":2}'],
      [null, 'msgpack', '\u0081'],
      [null, 'json', '{"symbol":"SPY","price":"\\"3\\""}'],
      [null, 'json', ''],
    ],
  );
  t.ok(Math.abs(deliveries[4].takenMs - Date.now()) < 60_000, 'an id of another century is no time');
  await bus.publish(topic, recordsOf('A', 1));
  t.equal(await bus.end(topic, 0), '5000000000000-18446744073709551615');
  t.equal((await bus.read(topic, 0, deliveries[4].position, 10)).length, 1);
});

void test('a limit below the number of partitions is kept, and no partition starves', { skip }, async (t) => {
  const { open } = await harnessFor(t);
  const bus = await open({ partitions: { [topic]: 5 } });
  const keys = ['SPY', 'AAPL', 'MSFT', 'QQQ', 'TSLA', 'GLD', 'IWM', 'BTC', 'ETH', 'SOL'];
  await bus.publish(
    topic,
    keys.flatMap((key) => recordsOf(key, 10)),
  );
  const member = await bus.join({ topic, group: 'g', member: 'm' });
  const seen: Delivery[] = [];
  const partitions = new Set<number>();
  while (seen.length < 100) {
    const batch = await member.next(3, 1000);
    t.ok(batch.length <= 3);
    seen.push(...batch);
    if (seen.length <= 15) for (const { partition } of batch) partitions.add(partition);
  }
  t.ok(partitions.size >= 4, 'the first few calls reach every partition');
  t.same(sorted(idsOf(seen)), sorted(idsOf(keys.flatMap((key) => recordsOf(key, 10)))));
  const many = await bus.join({ topic, group: 'many', member: 'm' });
  t.equal((await many.next(95, 1000)).length, 95, 'a large limit is filled from whatever partition has more');
});

void test('a server that comes back with nothing is gone on with', { skip }, async (t) => {
  const { redis, open } = await harnessFor(t);
  const bus = await open();
  await bus.publish(topic, recordsOf('A', 20));
  const member = await bus.join({ topic, group: 'g', member: 'm' });
  await collect(member, (ids) => ids.size === 20);
  await redis.kill();
  await redis.wipe();
  await redis.start();
  const collecting = collect(member, (ids) => ids.has('A|29'));
  await insist(() => bus.publish(topic, recordsOf('A', 10, 20)));
  t.same((await collecting).ids, idsOf(recordsOf('A', 10, 20)));
});

void test('an outage is said once, and its end', { skip }, async (t) => {
  const { redis, said, open } = await harnessFor(t);
  const bus = await open();
  const member = await bus.join({ topic, group: 'g', member: 'm' });
  const warnings: string[] = [];
  const note = (warning: Error): void => void warnings.push(warning.message);
  process.on('warning', note);
  t.teardown(() => process.off('warning', note));
  await redis.kill();
  const calls = Array.from({ length: 30 }, () =>
    t.rejects(bus.read(topic, 0, null, 1), { name: 'BusError', kind: 'unreachable' }),
  );
  await Promise.all(calls);
  for (let attempt = 0; attempt < 6; attempt++) {
    await t.rejects(member.next(1, 100), { name: 'BusError', kind: 'unreachable' });
  }
  await redis.start();
  await insist(() => member.next(1, 100));
  const mine = said.filter(({ fields }) => fields['connection'] === 'integration:g:m');
  t.same(
    mine.map(({ level }) => level),
    ['warn', 'info'],
  );
  t.same(warnings, [], 'many that wait are no leak');
});

void test(
  'leaving while a read waits ends it, and whoever is left takes what was given back',
  { skip },
  async (t) => {
    const { redis, open } = await harnessFor(t);
    const bus = await open();
    await bus.publish(topic, recordsOf('A', 10));
    const leaving = await bus.join({ topic, group: 'g', member: 'leaving' });
    await collect(leaving, (ids) => ids.size === 10, { acknowledge: false });
    const waiting = leaving.next(10, 60_000);
    const ended = t.rejects(waiting, { name: 'BusError' });
    await until('it waits', async () => (await redis.cli('CLIENT', 'LIST')).includes('flags=b'));
    await leaving.leave();
    await ended;
    await leaving.leave();
    await t.rejects(leaving.next(1, 0), { name: 'BusError' });
    const [info] = await bus.groups(topic);
    t.match(info, { pending: 10, members: 0 });
    const staying = await bus.join({ topic, group: 'g', member: 'staying' });
    const { all } = await collect(staying, (ids) => ids.size === 10);
    t.ok(all.every(({ attempts }) => attempts === 2));
  },
);

void test('names of members that are long gone are struck from the group', { skip }, async (t) => {
  const { redis, open } = await harnessFor(t);
  const bus = await open();
  await bus.publish(topic, recordsOf('A', 5));
  const gone = await open();
  const holder = await gone.join({ topic, group: 'g', member: 'holder' });
  t.equal((await holder.next(2, 1000)).length, 2);
  await redis.cli('XGROUP', 'CREATECONSUMER', topic, 'g', 'idle');
  await gone.close();
  const streams = [{ topic, partition: 0, key: topic }];
  const takeover = new RedisTakeover({
    streams,
    group: 'g',
    member: 'm',
    clock: systemClock,
    takeoverMs: 400_000,
    forgetMs: 50,
  });
  const client = new Redis(redis.uri);
  t.teardown(() => client.disconnect());
  const names = async (): Promise<string[]> =>
    (await readConsumers(client, topic, 'g')).map(({ name }) => name).sort();
  t.same(await names(), ['holder', 'idle']);
  await until('it is struck', async () => {
    await takeover.next(client, 10, () => {});
    return (await names()).length === 1;
  });
  t.same(await names(), ['holder'], 'who holds something stays');
});

void test('trimming respects a group that has just vanished, until it is made again', { skip }, async (t) => {
  const { redis, checkpoints, open } = await harnessFor(t);
  const bus = await open();
  const at = { acknowledgedMs: 0, retentionMs: 0 };
  const positions = await bus.publish(topic, recordsOf('A', 60));
  const fast = await bus.join({ topic, group: 'fast', member: 'm' });
  await collect(fast, (ids) => ids.size === 60);
  const slow = await bus.join({ topic, group: 'slow', member: 'm' });
  await collect(slow, (ids) => ids.size === 20, { limit: 20 });
  t.equal(await bus.trim(topic, at), 20);
  await until('the checkpoint', async () => (await checkpoints.position(topic, 'slow', 0)) === positions[19]);
  await redis.cli('XGROUP', 'DESTROY', topic, 'slow');
  t.equal(await bus.trim(topic, at), 0);
  t.same((await collect(slow, (ids) => ids.size === 40)).ids, idsOf(recordsOf('A', 40, 20)));
  t.equal(await bus.trim(topic, at), 40);
  await bus.publish(topic, recordsOf('A', 5, 60));
  await collect(fast, (ids) => ids.size === 5);
  t.equal(await bus.trim(topic, at), 0);
  await slow.leave();
  await bus.dropGroup(topic, 'slow');
  t.equal(await bus.trim(topic, at), 5, 'one that was dropped holds up nothing');
});
