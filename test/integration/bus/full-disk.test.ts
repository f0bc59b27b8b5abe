import { randomBytes } from 'node:crypto';
import { chown, mkdir, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type Test } from 'tap';
import type { BusOptions, StreamBus } from '../../../src/bus/bus.ts';
import { KafkaBus } from '../../../src/bus/kafka/bus.ts';
import { PostgresBus } from '../../../src/bus/postgres/bus.ts';
import { Publisher, PUBLISHER_LIMITS, type PublishRecord } from '../../../src/bus/publisher.ts';
import { openRedisBus } from '../../../src/bus/redis/bus.ts';
import { readStreamingConfig } from '../../../src/run/config/streaming/load.ts';
import { BusReport } from '../../../src/run/stages/bus-report.ts';
import { collect, insist, recordsOf } from '../../conformance/harness.ts';
import { testEnv } from '../../support/bus/env.ts';
import { FileCheckpoints } from '../../support/bus/file-checkpoints.ts';
import { TestMeter } from '../../support/bus/meter.ts';
import { migrateAll, withClient } from '../../support/bus/postgres-bus.ts';
import { noKafka, startKafka } from '../../support/servers/kafka.ts';
import { startPostgres } from '../../support/servers/postgres.ts';
import { redisMissing, startRedis } from '../../support/servers/redis.ts';
import { smallDisk, type SmallDisk } from '../../support/servers/small-disk.ts';
import { until } from '../../support/until.ts';

const TOPIC = 'mdp.events';
const FULL = 'The bus is full, publishers wait';
const DISK_BYTES = 96 * 2 ** 20;
const BEFORE = 200;
const TOTAL = 3000;
/** does not compress */
const BODY = randomBytes(4000);

interface Server {
  open(options: BusOptions): Promise<StreamBus>;
  /** after the disk has room again */
  revive?: () => Promise<void>;
}

/** The disk of the bus fills up while a producer publishes, and is freed again. */
async function fills(t: Test, disk: SmallDisk, server: Server): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'bus-disk-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const logged: string[] = [];
  const env = testEnv({ log: (_level, message) => void logged.push(message) });
  const bus = await server.open({
    partitions: {},
    maxBytes: 2 ** 31,
    clientName: 'full',
    checkpoints: new FileCheckpoints(folder),
    env,
  });
  t.teardown(() => bus.close());
  const meter = new TestMeter();
  const report = new BusReport({ bus, streaming: readStreamingConfig(), maintainsBus: false, env, meter });
  t.teardown(() => report.stop());
  report.start();
  const failures: string[] = [];
  const publisher = new Publisher({
    bus,
    topic: TOPIC,
    deadLetterTopic: `${TOPIC}.dlq`,
    backpressure: report.capacity,
    limits: { ...PUBLISHER_LIMITS, batchRecords: 100, backoff: { firstMs: 50, maxMs: 500 } },
    published: () => {},
    failed: (kind) => failures.push(kind),
    env,
  });
  t.teardown(() => publisher.stop());
  const add = (count: number, from: number): Promise<void> =>
    publisher.add(
      recordsOf('A', count, from).map((each): PublishRecord => ({ ...each, data: BODY, provider: 'p' })),
    );
  await add(BEFORE, 0);
  await publisher.settled();
  const alarm = (): number | undefined => meter.values.get(`bus_full{bus=${bus.kind}}`);
  t.equal(alarm(), 0);
  await disk.fill(2 ** 20);
  await add(TOTAL - BEFORE, BEFORE);
  await until('the bus refuses a record', () => failures.includes('full'), {
    context: () => `${failures.join()}\n${logged.join('\n')}`,
  });
  // at once: nothing else has happened since
  t.equal(alarm(), 1);
  t.equal(report.capacity.alarmed, true);
  await until('it is said', () => logged.includes(FULL));
  await disk.release();
  await server.revive?.();
  await publisher.settled();
  await until('the alarm is over', () => alarm() === 0);
  t.equal(logged.filter((line) => line === FULL).length, 1, 'said once');
  t.notOk(failures.includes('refused'), 'no event is given up');
  const member = await insist(() => bus.join({ topic: TOPIC, group: 'g', member: 'm' }));
  const { ids } = await collect(member, (seen) => seen.size === TOTAL);
  t.equal(new Set(ids).size, TOTAL);
}

async function diskOf(t: Test, like: string): Promise<SmallDisk | null> {
  const disk = await smallDisk(DISK_BYTES, like);
  if (typeof disk !== 'string') return disk;
  t.plan(0, disk);
  return null;
}

void test('redis: the append-only file cannot be written', { skip: redisMissing() ?? false }, async (t) => {
  const disk = await diskOf(t, tmpdir());
  if (disk === null) return;
  const redis = await startRedis({ appendfsync: 'everysec', settings: { dir: disk.folder } });
  t.teardown(async () => {
    await redis.stop();
    await disk.close();
  });
  await fills(t, disk, { open: (options) => openRedisBus(redis.uri, options) });
});

void test('postgres: the disk of the segments is full', async (t) => {
  const server = await startPostgres({ settings: { synchronous_commit: 'on' } });
  t.teardown(() => server.stop());
  const disk = await diskOf(t, join(server.dataDir, 'pgdata'));
  if (disk === null) return;
  t.teardown(async () => {
    await server.stop();
    await disk.close();
  });
  const { uid, gid } = await stat(disk.folder);
  const place = join(disk.folder, 'tables');
  await mkdir(place);
  await chown(place, uid, gid);
  await withClient(server.url('postgres'), (client) =>
    client.query(`CREATE TABLESPACE small LOCATION '${place}'`),
  );
  const url = await server.createDatabase('full', { schema: false });
  await withClient(server.url('postgres'), (client) =>
    client.query('ALTER DATABASE "full" SET TABLESPACE small'),
  );
  await migrateAll(url);
  await fills(t, disk, { open: async (options) => new PostgresBus({ ...options, databaseUrl: url }) });
});

void test('kafka: the disk of a log is full', { skip: noKafka() }, async (t) => {
  const disk = await diskOf(t, tmpdir());
  if (disk === null) return;
  t.teardown(() => disk.close());
  const dataDir = await mkdtemp(join(tmpdir(), 'tick-kafka-full-'));
  const kafka = await startKafka({
    dataDir,
    settings: { 'log.dirs': join(disk.folder, 'log'), 'metadata.log.dir': join(dataDir, 'log') },
    formatWith: ['--ignore-formatted'],
  });
  t.teardown(async () => {
    await kafka.kill();
    await rm(dataDir, { recursive: true, force: true });
  });
  await fills(t, disk, {
    open: (options) => KafkaBus.open({ ...options, brokers: [`127.0.0.1:${kafka.port}`] }),
    revive: () => kafka.crash(),
  });
});
