import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type Test } from 'tap';
import { formatMicros } from '../../../../src/core/time.ts';
import type { BusServer, StartBusServer } from '../../../conformance/bus-server.ts';
import { startKafkaBus } from '../../../support/bus/kafka-bus.ts';
import { migrateAll, startPostgresBus, withClient } from '../../../support/bus/postgres-bus.ts';
import { Program } from '../../../support/run/program.ts';
import { sharedPostgres } from '../../../support/servers/postgres.ts';
import { startRedisBus } from '../../../support/servers/redis.ts';
import { until } from '../../../support/until.ts';

const EVENTS = 20;
const HOUR_MS = 3_600_000;

const CONFIGS: Readonly<Record<BusServer['kind'], (address: string) => string>> = {
  redis: (uri) => `type: redis\n  redis: { uri: "${uri}" }`,
  kafka: (broker) => `type: kafka\n  kafka: { brokers: "${broker}" }`,
  postgres: () => 'type: postgres',
};

const SERVERS: Readonly<Record<BusServer['kind'], StartBusServer>> = {
  redis: startRedisBus,
  kafka: startKafkaBus,
  postgres: startPostgresBus,
};

/** A second process on this machine has a name of its own. */
async function startsBeside(t: Test, url: string, start: () => Program): Promise<void> {
  const members = (): Promise<string[]> =>
    withClient(url, async (client) => {
      const { rows } = await client.query<{ member: string }>(
        'SELECT member FROM bus_members ORDER BY member',
      );
      return rows.map(({ member }) => member);
    });
  const [first] = await members();
  const second = start();
  await until('both are members', async () => (await members()).length === 2, { context: () => second.tail });
  t.strictSame(await members(), [first, `${first}#2`]);
  t.equal(await second.stop(), 0, second.tail);
}

for (const [kind, startServer] of Object.entries(SERVERS)) {
  void test(`${kind}: what lay on the bus for a day before the first consumer started is stored`, async (t) => {
    const bus = await startServer();
    if ('skip' in bus) {
      t.comment(`skipped: ${bus.skip}`);
      return;
    }
    t.after(() => bus.stop());
    let url = bus.opener.address;
    if (bus.kind !== 'postgres') {
      const postgres = await sharedPostgres();
      t.after(() => postgres.stop());
      url = await postgres.createDatabase(undefined, { schema: false });
      await migrateAll(url);
    }
    const folder = await mkdtemp(join(tmpdir(), 'tick-first-'));
    t.after(() => rm(folder, { recursive: true, force: true }));
    const config = join(folder, 'streaming.yaml');
    await writeFile(config, `version: 1\nbus:\n  ${CONFIGS[bus.kind](bus.opener.address)}\n`);

    const oldMs = Date.now() - 25 * HOUR_MS;
    for (let at = 0; at < EVENTS; at += 1) {
      const tick = {
        provider: 'p',
        symbol: 'SPY',
        price: at,
        src_ts: formatMicros(BigInt(oldMs + at) * 1000n),
      };
      await bus.foreignAt('mdp.events', JSON.stringify(tick), oldMs + at);
    }
    const start = (): Program => {
      const args = ['stream', 'ticks', '--metrics-port', '0', '--config', config];
      const program = new Program('mdp', args, { DATABASE_URL: url });
      t.after(() => program.kill());
      return program;
    };
    const consumer = start();
    const stored = async (): Promise<number[]> =>
      withClient(url, async (client) => {
        const { rows } = await client.query<{ price: number }>('SELECT price FROM tick_data ORDER BY ts');
        return rows.map(({ price }) => price);
      });
    await until('every one is stored', async () => (await stored()).length === EVENTS, {
      deadlineMs: 40_000,
      context: () => consumer.tail,
    });
    t.strictSame(
      await stored(),
      Array.from({ length: EVENTS }, (_, at) => at),
    );
    if (bus.kind === 'postgres') await startsBeside(t, url, start);
    t.equal(await consumer.stop(), 0, consumer.tail);
  });
}
