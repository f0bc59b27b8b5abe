import { test } from 'tap';
import { BusCapacity } from '../../../src/bus/capacity.ts';
import { BarHarness, TOPIC } from '../../support/bars/harness.ts';
import { testEnv } from '../../support/bus/env.ts';
import { tick } from '../../support/bars/stored.ts';
import { startPostgres } from '../../support/servers/postgres.ts';
import { redisMissing, startRedis } from '../../support/servers/redis.ts';
import { until } from '../../support/until.ts';

/** A consumer publishes as well: what it cannot use. */
void test(
  'a dead letter that the bus refuses raises the alarm',
  { skip: redisMissing() ?? false },
  async (t) => {
    const postgres = await startPostgres();
    t.teardown(() => postgres.stop());
    const redis = await startRedis();
    t.teardown(() => redis.stop());
    const url = await postgres.createDatabase(undefined, { schema: false });
    const harness = await BarHarness.open(t, url, { kind: 'redis', uri: redis.uri });
    const alarms: boolean[] = [];
    const lines: string[] = [];
    const capacity = new BusCapacity({
      bus: harness.bus,
      topics: [],
      env: testEnv({ log: (_level, message) => void lines.push(message) }),
      alarmed: (isAlarmed) => void alarms.push(isAlarmed),
    });
    t.teardown(() => capacity.stop());
    await harness.publish([tick('SPY', 0, 1)]);
    await redis.cli('XADD', TOPIC, '*', 'data', 'no event');
    // a group is made before its memory is gone
    await harness.bus
      .join({ topic: TOPIC, group: 'tick-consumer', member: 'm' })
      .then((member) => member.leave());
    await redis.cli('CONFIG', 'SET', 'maxmemory', '1');
    await harness.consumer({ backpressure: capacity });
    await until('the alarm', () => alarms.length > 0, { context: () => lines.join('\n') });
    t.strictSame(alarms, [true]);
    await until('it is said', () => lines.includes('The bus is full, publishers wait'));
    t.strictSame(await harness.deadLetters(), []);
    await redis.cli('CONFIG', 'SET', 'maxmemory', '0');
    await until('the alarm is over', () => alarms.length > 1);
    t.strictSame(alarms, [true, false]);
    t.match(await harness.deadLetters(), [{ reason: 'bad_json' }]);
    const { n } = await harness.one<{ n: number }>('SELECT count(*)::int AS n FROM tick_data');
    t.equal(n, 1);
  },
);
