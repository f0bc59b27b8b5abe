import { testEnv } from '../../../support/bus/env.ts';
import type { LogLine } from '../../../../src/core/env.ts';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { test, type Test } from 'tap';
import { BusError, type StreamBus } from '../../../../src/bus/bus.ts';
import { BusCapacity } from '../../../../src/bus/capacity.ts';
import { openRedisBus, type RedisBusOptions } from '../../../../src/bus/redis/bus.ts';
import { collect, idsOf, insist, recordsOf } from '../../../conformance/harness.ts';
import { FileCheckpoints } from '../../../support/bus/file-checkpoints.ts';
import { freePort } from '../../../support/servers/free-port.ts';
import {
  redisMissing,
  startRedis,
  type TestRedis,
  type TestRedisOptions,
} from '../../../support/servers/redis.ts';
import { until } from '../../../support/until.ts';

const skip = redisMissing() ?? false;
const topic = 'mdp.events';
const PASSWORD = 'pass/word@with:signs';

interface Harness {
  redis: TestRedis;
  /** everything that was logged, as JSON */
  said: string[];
  open: (overrides?: Partial<RedisBusOptions>, uri?: string) => Promise<StreamBus>;
}

async function harnessFor(t: Test, settings: TestRedisOptions = {}): Promise<Harness> {
  const redis = await startRedis(settings);
  const folder = mkdtempSync(join(tmpdir(), 'redis-marks-'));
  const buses: StreamBus[] = [];
  const said: string[] = [];
  const log: LogLine = (level, message, fields) => said.push(JSON.stringify({ level, message, fields }));
  t.teardown(async () => {
    await Promise.all(buses.map((bus) => bus.close()));
    await redis.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  return {
    redis,
    said,
    async open(overrides = {}, uri = redis.uri) {
      const bus = await openRedisBus(uri, {
        partitions: {},
        maxBytes: 2 ** 31,
        clientName: 'integration',
        checkpoints: new FileCheckpoints(folder),
        env: testEnv({ log }),
        ...overrides,
      });
      buses.push(bus);
      return bus;
    },
  };
}

async function errorOf(call: Promise<unknown>): Promise<BusError> {
  try {
    await call;
  } catch (error) {
    if (error instanceof BusError) return error;
    throw error;
  }
  throw new Error('it was not refused');
}

/** Publishes until the bus is full; how many records it took, and what was not taken. */
async function fill(bus: StreamBus): Promise<{ published: number; error: BusError }> {
  const data = new Uint8Array(4000).fill(97);
  for (let published = 0; published < 1_000_000; published += 50) {
    const records = recordsOf('A', 50, published).map((record) => ({ ...record, data }));
    try {
      await bus.publish(topic, records);
    } catch (error) {
      if (error instanceof BusError) return { published, error };
      throw error;
    }
  }
  throw new Error('it never filled up');
}

void test('a server that evicts streams is refused, with the command that mends it', { skip }, async (t) => {
  const { redis, open, said } = await harnessFor(t, { maxmemory: '100mb', policy: 'allkeys-lru' });
  const error = await errorOf(open());
  t.equal(error.kind, 'setup');
  t.match(error.message, 'CONFIG SET maxmemory-policy noeviction');
  await redis.cli('CONFIG', 'SET', 'maxmemory', '0');
  const unlimited = await open();
  await unlimited.usage();
  t.same(said, [], 'without a limit nothing is evicted');
  await redis.cli('CONFIG', 'SET', 'maxmemory', '100mb');
  await unlimited.usage();
  await unlimited.usage();
  t.equal(said.length, 1, 'when it begins to evict while we run, that is said once');
  await redis.cli('CONFIG', 'SET', 'maxmemory-policy', 'noeviction');
  await open();
});

void test(
  'out of memory: nothing is half there, readers go on, and publishing recovers',
  { skip },
  async (t) => {
    const { open } = await harnessFor(t, { maxmemory: '8mb' });
    const bus = await open();
    const member = await bus.join({ topic, group: 'g', member: 'm' });
    const { published, error } = await fill(bus);
    t.equal(error.kind, 'full');
    t.match(error.message, 'OOM');
    const usage = await bus.usage();
    t.equal(usage.maxBytes, 8 * 1024 * 1024, 'the server has less than bus.max_bytes');
    t.ok(usage.bytes > usage.maxBytes * 0.9);
    const { ids } = await collect(member, (seen) => seen.size === published);
    t.same(ids, idsOf(recordsOf('A', published)), 'a refused batch left nothing');
    t.equal(await bus.trim(topic, { acknowledgedMs: 0, retentionMs: 0 }), published);
    await bus.publish(topic, recordsOf('A', 50, published));
    t.same((await collect(member, (seen) => seen.size === 50)).ids, idsOf(recordsOf('A', 50, published)));
  },
);

void test(
  'housekeeping: publishers wait while it is full, and go on when groups have read',
  { skip },
  async (t) => {
    const { open } = await harnessFor(t);
    const bus = await open({ maxBytes: 4 * 1024 * 1024 });
    const said: string[] = [];
    const capacity = new BusCapacity({
      bus,
      topics: [topic],
      env: testEnv({ log: (level, message) => said.push(`${level} ${message}`) }),
      lookMs: 10,
    });
    capacity.start();
    t.teardown(() => capacity.stop());
    const member = await bus.join({ topic, group: 'g', member: 'm' });
    const data = new Uint8Array(4000).fill(97);
    const TOTAL = 3000;
    let highest = 0;
    const publishing = (async () => {
      for (let at = 0; at < TOTAL; at += 20) {
        await capacity.look(); // a test's publisher is faster than any clock
        await capacity.relieved();
        await bus.publish(
          topic,
          recordsOf('A', 20, at).map((record) => ({ ...record, data })),
        );
        highest = Math.max(highest, (await bus.usage()).bytes);
      }
    })();
    await until('publishers wait', () => capacity.full);
    const { ids } = await collect(member, (seen) => seen.size === TOTAL, { limit: 100 });
    await publishing;
    t.same(ids, idsOf(recordsOf('A', TOTAL)), 'nothing is lost');
    t.ok(highest < 4 * 1024 * 1024, `${highest} bytes at most`);
    await until('room', () => !capacity.full);
    t.ok(said.includes('error The bus is full, publishers wait'));
    t.ok(capacity.trimmed > 0);
  },
);

void test('durability says what the settings mean', { skip }, async (t) => {
  const { redis, open } = await harnessFor(t, { appendfsync: 'always' });
  const bus = await open();
  t.match(await bus.durability(), { lossFree: true, why: 'appendfsync always' });
  await redis.cli('CONFIG', 'SET', 'appendfsync', 'everysec');
  t.match(await bus.durability(), { lossFree: false, why: '1 s' });
  await redis.cli('CONFIG', 'SET', 'appendfsync', 'no');
  t.match(await bus.durability(), { lossFree: false, why: 'appendfsync no' });
  await redis.cli('CONFIG', 'SET', 'appendonly', 'no');
  t.match(await bus.durability(), { lossFree: false, why: 'appendonly no' });
  const version = /redis_version:(\S+)/.exec(await redis.cli('INFO', 'server'))?.[1] ?? '0';
  if (Number(version.split('.').slice(0, 2).join('.')) >= 7.2) {
    await redis.cli('CONFIG', 'SET', 'appendonly', 'yes');
    const waiting = await open({ waitAof: true });
    t.match(await waiting.durability(), { lossFree: true, why: 'WAITAOF' });
    t.equal((await waiting.publish(topic, recordsOf('A', 10))).length, 10);
  } else {
    t.match(await errorOf(open({ waitAof: true })), { kind: 'setup', message: '7.2' });
  }
});

void test('a password in the URI is used, and never said', { skip }, async (t) => {
  const { redis, open, said } = await harnessFor(t, { password: PASSWORD });
  const uri = (user: string, password: string): string =>
    `redis://${user}:${encodeURIComponent(password)}@127.0.0.1:${redis.port}/0`;
  const bus = await open({}, uri('', PASSWORD));
  await bus.publish(topic, recordsOf('A', 1));
  const errors = [
    await errorOf(open({}, uri('', 'wrong/secret'))),
    await errorOf(open({}, uri('nobody', 'wrong/secret'))),
    await errorOf(open()),
    await errorOf(open({}, uri('', PASSWORD).replace('/0', '/99'))),
  ];
  for (const error of errors) t.equal(error.kind, 'setup', error.message);
  await redis.kill();
  t.equal((await errorOf(bus.publish(topic, recordsOf('A', 1)))).kind, 'unreachable');
  t.equal((await errorOf(open({}, uri('', PASSWORD)))).kind, 'unreachable');
  const everything = [...said, ...errors.map((error) => inspect(error, { depth: 20 }))].join('\n');
  for (const secret of [PASSWORD, encodeURIComponent(PASSWORD), 'wrong/secret', 'wrong%2Fsecret']) {
    t.notOk(everything.includes(secret));
  }
});

void test('a user with few rights is enough', { skip }, async (t) => {
  const { redis, open } = await harnessFor(t);
  const rights = [
    'resetkeys',
    '~mdp.*',
    'resetchannels',
    '+@read',
    '+@write',
    '+@stream',
    '+@connection',
    '+@transaction',
  ];
  const forbidden = ['-@dangerous', '-@admin', '-eval'];
  await redis.cli('ACL', 'SETUSER', 'mdp', 'on', '>little', ...rights, '+time', ...forbidden);
  const bus = await open({}, `redis://mdp:little@127.0.0.1:${redis.port}/0`);
  t.match(await bus.durability(), { lossFree: false, why: 'unknown' });
  await bus.publish(topic, recordsOf('A', 20));
  const member = await bus.join({ topic, group: 'g', member: 'm' });
  t.same((await collect(member, (ids) => ids.size === 20)).ids, idsOf(recordsOf('A', 20)));
  t.match(await bus.groups(topic), [{ pending: 0, lag: 0 }]);
  t.ok((await bus.usage()).bytes > 0);
  t.equal(await bus.trim(topic, { acknowledgedMs: 0, retentionMs: 0 }), 20);
  await member.leave();
  t.equal(await bus.dropGroup(topic, 'g'), true);
  t.equal((await errorOf(bus.publish('elsewhere', recordsOf('A', 1)))).kind, 'setup');
});

void test('a key that holds something else, and a record that is too large', { skip }, async (t) => {
  const { redis, open } = await harnessFor(t);
  await redis.cli('SET', topic, 'x');
  const bus = await open();
  t.equal((await errorOf(bus.publish(topic, recordsOf('A', 1)))).kind, 'setup');
  t.equal((await errorOf(bus.join({ topic, group: 'g', member: 'm' }))).kind, 'setup');
  const data = new Uint8Array(512 * 1024 * 1024 + 1); // never touched, so it takes no memory
  const huge = { key: 'A', eventId: null, data, encoding: 'json' as const };
  t.equal((await errorOf(bus.publish('other', [huge]))).kind, 'refused');
});

void test('more clients than the server takes: that passes', { skip }, async (t) => {
  const { redis, open } = await harnessFor(t, { settings: { maxclients: '2' } });
  const bus = await open();
  const other = await open();
  const error = await errorOf(open());
  t.equal(error.kind, 'unreachable', error.message);
  await other.close();
  await until('there is a logName again', async () => !(await redis.cli('PING')).includes('max'));
  await insist(() => bus.publish(topic, recordsOf('A', 1)));
});

void test('rediss:// checks the certificate', { skip: skip !== false ? skip : noTls() }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'redis-tls-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const key = join(folder, 'key.pem');
  const cert = join(folder, 'cert.pem');
  execFileSync(
    'openssl',
    ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', cert, '-days', '2'].concat([
      '-subj',
      '/CN=localhost',
      '-addext',
      'subjectAltName=DNS:localhost,IP:127.0.0.1',
    ]),
    { stdio: 'ignore' },
  );
  const tlsPort = await freePort();
  const { open } = await harnessFor(t, {
    settings: {
      'tls-port': String(tlsPort),
      'tls-cert-file': cert,
      'tls-key-file': key,
      'tls-auth-clients': 'no',
    },
  });
  const uri = `rediss://127.0.0.1:${tlsPort}/0`;
  t.equal((await errorOf(open({}, uri))).kind, 'setup', 'nobody vouches for it');
  const bus = await open({ tls: { ca: readFileSync(cert) } }, uri);
  const member = await bus.join({ topic, group: 'g', member: 'm' });
  await bus.publish(topic, recordsOf('A', 3));
  t.same((await collect(member, (ids) => ids.size === 3)).ids, idsOf(recordsOf('A', 3)));
});

/** Why the certificates of this test cannot be made here. */
function noTls(): string | false {
  try {
    execFileSync('openssl', ['version'], { stdio: 'ignore' });
    return false;
  } catch {
    return 'this machine has no openssl';
  }
}
