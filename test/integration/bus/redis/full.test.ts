import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';
import { Publisher, PUBLISHER_LIMITS, type PublishRecord } from '../../../../src/bus/publisher.ts';
import { openRedisBus } from '../../../../src/bus/redis/bus.ts';
import { readStreamingConfig } from '../../../../src/run/config/streaming/load.ts';
import { BusReport } from '../../../../src/run/stages/bus-report.ts';
import { collect, recordsOf } from '../../../conformance/harness.ts';
import { testEnv } from '../../../support/bus/env.ts';
import { FileCheckpoints } from '../../../support/bus/file-checkpoints.ts';
import { TestMeter } from '../../../support/bus/meter.ts';
import { redisMissing, startRedis } from '../../../support/servers/redis.ts';
import { until } from '../../../support/until.ts';

const skip = redisMissing() ?? false;
const topic = 'mdp.events';
const TOTAL = 4000;
const FULL = 'The bus is full, publishers wait';

void test(
  'a Redis that refuses records raises the alarm; publishers wait, and nothing is lost',
  { skip },
  async (t) => {
    const redis = await startRedis({ maxmemory: '8mb' });
    const folder = mkdtempSync(join(tmpdir(), 'redis-full-'));
    const logged: string[] = [];
    const log = (_level: string, message: string): void => void logged.push(message);
    const env = testEnv({ log });
    const bus = await openRedisBus(redis.uri, {
      partitions: {},
      maxBytes: 2 ** 31,
      clientName: 'integration',
      checkpoints: new FileCheckpoints(folder),
      env,
    });
    const meter = new TestMeter();
    const busReport = new BusReport({
      bus,
      streaming: readStreamingConfig(),
      maintainsBus: true,
      env,
      meter,
    });
    const failures: string[] = [];
    const publisher = new Publisher({
      bus,
      topic,
      deadLetterTopic: `${topic}.dlq`,
      backpressure: busReport.capacity,
      limits: { ...PUBLISHER_LIMITS, queueRecords: TOTAL },
      published: () => {},
      failed: (kind) => failures.push(kind),
      env,
    });
    t.teardown(async () => {
      await publisher.stop();
      await busReport.stop();
      await bus.close();
      await redis.stop();
      rmSync(folder, { recursive: true, force: true });
    });
    const member = await bus.join({ topic, group: 'g', member: 'm' });
    busReport.start();
    const data = new Uint8Array(4000).fill(97);
    await publisher.add(
      recordsOf('A', TOTAL).map((each): PublishRecord => ({ ...each, data, provider: 'p' })),
    );
    await until('it is refused', () => failures.includes('full'));
    await until('the metric', () => meter.values.get('bus_full{bus=redis}') === 1);
    t.equal(busReport.capacity.alarmed, true);
    await until('it is said', () => logged.includes(FULL));
    t.equal(logged.filter((line) => line === FULL).length, 1, 'said once');
    const { ids } = await collect(member, (seen) => seen.size === TOTAL, { limit: 100 });
    await publisher.settled();
    t.equal(new Set(ids).size, TOTAL, 'nothing is lost');
    t.notOk(failures.includes('refused'), 'and nothing is a dead letter');
    await until('the alarm is over', () => meter.values.get('bus_full{bus=redis}') === 0);
    t.ok(logged.includes('The bus has room again, publishers go on'));
  },
);
