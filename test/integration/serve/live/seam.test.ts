import { setTimeout as delay } from 'node:timers/promises';
import { after, test } from 'tap';
import type { OutgoingRecord, StreamBus } from '../../../../src/bus/bus.ts';
import { eventJson } from '../../../../src/core/market/codec/encode.ts';
import { eventIdOf } from '../../../../src/core/market/event-id.ts';
import type { TickEvent } from '../../../../src/core/market/event.ts';
import { formatMicros, systemClock } from '../../../../src/core/time.ts';
import { StoreClient } from '../../../../src/store/store-client.ts';
import { TickConsumer } from '../../../../src/stream/ticks/tick-consumer.ts';
import type { BusServer, StartBusServer } from '../../../conformance/bus-server.ts';
import { testEnv } from '../../../support/bus/env.ts';
import { startKafkaBus } from '../../../support/bus/kafka-bus.ts';
import { startPostgresBus, withClient } from '../../../support/bus/postgres-bus.ts';
import { SseClient } from '../../../support/live/sse.ts';
import { startLive, type LiveServer } from '../../../support/live/server.ts';
import { seededRandom } from '../../../support/random.ts';
import { startRedisBus } from '../../../support/servers/redis.ts';
import { sharedPostgres, type SharedPostgres } from '../../../support/servers/postgres.ts';
import { until } from '../../../support/until.ts';

const TOPIC = 'mdp.events';
const HOUR_US = 3_600_000_000n;
const SYMBOLS = ['SPY', 'AAPL', 'MSFT', 'QQQ', 'TSLA', 'GLD', 'BTC USD', 'ÄÖ'];

let postgres: SharedPostgres | null = null;
after(() => postgres?.stop());

function tickAt(srcTs: bigint, symbol: string, seq: bigint, price: number): TickEvent {
  const provider = 'sim';
  const eventId = eventIdOf(provider, symbol, formatMicros(srcTs), seq, null);
  return {
    kind: 'tick',
    provider,
    symbol,
    srcTs,
    ingestTs: null,
    seq,
    price,
    size: 1,
    bid: null,
    ask: null,
    side: 1,
    origin: 'live',
    replayRunId: null,
    eventId,
  };
}

function recordOf(event: TickEvent): OutgoingRecord {
  return { key: event.symbol, eventId: event.eventId, data: Buffer.from(eventJson(event)), encoding: 'json' };
}

interface World {
  bus: StreamBus;
  databaseUrl: string;
  store: StoreClient;
}

async function open(server: BusServer, partitions: number): Promise<World & { close: () => Promise<void> }> {
  postgres ??= await sharedPostgres();
  const databaseUrl = await postgres.createDatabase(undefined, { schema: false });
  const store = new StoreClient({ dbUri: databaseUrl });
  await store.migrate();
  const bus = await server.open({
    partitions: { [TOPIC]: partitions },
    maxBytes: 2 ** 31,
    clientName: 'live-test',
    checkpoints: store.busCheckpoints,
    env: testEnv(),
  });
  return {
    bus,
    databaseUrl,
    store,
    close: async () => {
      await bus.close();
      await store.aclose();
    },
  };
}

async function storedKeys(databaseUrl: string, fromUs: bigint): Promise<string[]> {
  return withClient(databaseUrl, async (client) => {
    const { rows } = await client.query<{ key: string }>(
      `SELECT symbol || '|' || to_char(ts AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '|' || seq || '|' || price AS key
         FROM tick_data WHERE ts >= timestamptz '${formatMicros(fromUs)}'`,
    );
    return rows.map(({ key }) => key).sort();
  });
}

function keyIn(data: string): string {
  const { symbol, ts, seq, price } = JSON.parse(data) as Record<string, string>;
  return `${symbol}|${ts}|${seq}|${price}`;
}

const BATCHES = 60;
const CUTS = 12;

for (const [kind, start] of Object.entries({
  redis: startRedisBus,
  postgres: startPostgresBus,
  kafka: startKafkaBus,
}) as [string, StartBusServer][]) {
  // LIVE_BUS=postgres: that one alone
  if (!kind.startsWith(process.env['LIVE_BUS'] ?? '')) continue;
  for (const partitions of [1, 2]) {
    void test(`${kind}, ${partitions} partitions: a client that is cut sees exactly what is stored, from an hour back`, async (t) => {
      const server = await start();
      if ('skip' in server) {
        t.plan(0, server.skip);
        return;
      }
      const random = seededRandom();
      t.comment(`SEED=${random.seed}`);
      const world = await open(server, partitions);
      const { bus, databaseUrl, store } = world;
      const nowUs = systemClock.nowMicros();
      const fromUs = nowUs - HOUR_US;
      let seq = 0n;
      const sent: OutgoingRecord[] = [];
      const publish = async (count: number, baseUs: bigint): Promise<void> => {
        const records = Array.from({ length: count }, () => {
          seq += 1n;
          const late = random.percent(5) ? BigInt(random.whole(0, 3_000_000_000)) : 0n;
          return recordOf(tickAt(baseUs - late, random.pick(SYMBOLS), seq, random.whole(1, 1000)));
        });
        if (sent.length > 0 && random.percent(30)) records.push(...sent.slice(-random.whole(1, 40)));
        sent.push(...records);
        await bus.publish(TOPIC, records);
      };
      // an hour of history, of which some lies before `from`
      for (let minute = -70; minute < 0; minute++) await publish(60, nowUs + BigInt(minute) * 60_000_000n);
      let consumer = new TickConsumer({ bus, storeClient: store, env: testEnv(), consumerName: 'c0' });
      await consumer.start();
      await until('some is stored', async () => (await storedKeys(databaseUrl, fromUs)).length > 0);
      let live: LiveServer = await startLive(bus, databaseUrl);
      const address = (): string =>
        `${live.url}/v1/stream?topic=ticks&from=${encodeURIComponent(formatMicros(fromUs))}`;
      let client = new SseClient(address());
      const all: string[] = [];
      await client.connect();
      const flow = (async () => {
        for (let batch = 0; batch < BATCHES; batch++) {
          await publish(random.whole(20, 120), systemClock.nowMicros());
          await delay(random.whole(1, 30));
        }
      })();
      let lastId: string | null = null;
      for (let cut = 0; cut < CUTS; cut++) {
        await delay(random.whole(5, 150));
        client.cut();
        all.push(...client.events.map(({ data }) => keyIn(data)));
        lastId = client.lastId ?? lastId;
        if (cut % 4 === 3) {
          // another process of the API
          await live.close();
          live = await startLive(bus, databaseUrl);
        }
        if (cut === 5) {
          await consumer.stop();
          consumer = new TickConsumer({ bus, storeClient: store, env: testEnv(), consumerName: 'c1' });
          await consumer.start();
        }
        client = new SseClient(address(), lastId === null ? {} : { 'last-event-id': lastId });
        await client.connect();
        t.equal(client.status, 200);
      }
      await flow;
      await until('all is stored', async () => {
        const groups = await bus.groups(TOPIC);
        const ends = await Promise.all(groups.map(({ partition }) => bus.end(TOPIC, partition)));
        return groups.every(({ acknowledged }, at) => {
          const end = ends[at] ?? null;
          return end === null || (acknowledged !== null && bus.compare(acknowledged, end) >= 0);
        });
      });
      const stored = await storedKeys(databaseUrl, fromUs);
      // a late tick from before `from` comes too, when it is live
      const seen = (): string[] => [...all, ...client.events.map(({ data }) => keyIn(data))];
      const isWanted = new Set(stored);
      await until(
        'the client has it all',
        () => seen().filter((key) => isWanted.has(key)).length >= stored.length,
        {
          deadlineMs: 20_000,
          progress: () => client.events.length,
          context: () => `${seen().length} of ${stored.length}`,
        },
      );
      const keys = seen();
      t.equal(new Set(keys).size, keys.length, 'none comes twice');
      t.same(
        keys.filter((key) => isWanted.has(key)).sort(),
        stored,
        'all that is stored, and as it is stored',
      );
      const events = client.events.filter(({ event }) => event !== 'tick');
      t.same(events, []);
      t.comment(`${stored.length} ticks, ${CUTS} cuts`);
      client.cut();
      await live.close();
      await consumer.stop();
      await world.close();
      await server.stop();
    });
  }
}
