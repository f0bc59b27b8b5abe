import { testEnv } from '../bus/env.ts';
import type { Test } from 'tap';
import type { Client } from 'pg';
import type { OutgoingRecord, StreamBus } from '../../../src/bus/bus.ts';
import { PostgresBus } from '../../../src/bus/postgres/bus.ts';
import { openRedisBus } from '../../../src/bus/redis/bus.ts';
import { decodeDeadLetter, type MarketDeadLetter } from '../../../src/core/market/dead-letter.ts';
import { formatMicros } from '../../../src/core/time.ts';
import { connect, parseDatabaseUrl } from '../../../src/store/postgres/connect.ts';
import { migrate } from '../../../src/store/schema/migrate.ts';
import { StoreClient } from '../../../src/store/store-client.ts';
import { MicroBatcher, type MicroBatcherOptions } from '../../../src/stream/bars/micro-batcher.ts';
import { TickConsumer, type TickConsumerOptions } from '../../../src/stream/ticks/tick-consumer.ts';
import { oracleBars, type OracleBar, type OracleTick } from './oracle.ts';
import { barsIn } from './stored.ts';
import { openBus as openKafkaBus } from '../bus/kafka-bus.ts';
import { TestMeter } from '../bus/meter.ts';
import { until } from '../until.ts';

export const TOPIC = 'mdp.events';

/** Where the events travel. */
export interface BusPlace {
  kind: 'postgres' | 'redis' | 'kafka';
  /** of redis; host:port of kafka */
  uri?: string;
}

export function openBus(
  bus: BusPlace,
  databaseUrl: string,
  store: StoreClient,
  partitions: number,
): Promise<StreamBus> {
  const options = {
    partitions: { [TOPIC]: partitions },
    maxBytes: 2 ** 31,
    clientName: 'test',
    checkpoints: store.busCheckpoints,
    env: testEnv(),
  };
  if (bus.kind === 'redis') return openRedisBus(bus.uri ?? '', options);
  if (bus.kind === 'kafka') return openKafkaBus(bus.uri ?? '', options);
  return Promise.resolve(new PostgresBus({ ...options, databaseUrl }));
}

/** A record of mdp.events: a tick, or whatever `more` makes of it. */
export function record(tick: OracleTick, more: Record<string, unknown> = {}): OutgoingRecord {
  const { provider, symbol, srcUs, seq, price, size } = tick;
  const event = {
    provider,
    symbol,
    kind: 'tick',
    src_ts: formatMicros(BigInt(srcUs)),
    seq,
    price,
    size,
    ...more,
  };
  return { key: symbol, eventId: null, data: Buffer.from(JSON.stringify(event)), encoding: 'json' };
}

/** A database with a bus, and micro-batchers and tick consumers on them; all of it is closed at the end of its test. */
export class BarHarness {
  readonly url: string;
  readonly client: Client;
  readonly bus: StreamBus;
  readonly meter = new TestMeter();
  readonly logged: string[] = [];
  readonly #t: Test;
  readonly #place: BusPlace;
  readonly #partitions: number;

  private constructor(
    t: Test,
    url: string,
    client: Client,
    bus: StreamBus,
    place: BusPlace,
    partitions: number,
  ) {
    this.#t = t;
    this.url = url;
    this.client = client;
    this.bus = bus;
    this.#place = place;
    this.#partitions = partitions;
  }

  /** @param url of an empty database */
  static async open(
    t: Test,
    url: string,
    place: BusPlace = { kind: 'postgres' },
    partitions = 1,
  ): Promise<BarHarness> {
    const client = await connect(parseDatabaseUrl(url), { applicationName: 'test' });
    client.on('error', () => {});
    await migrate(client);
    t.teardown(() => client.end().catch(() => {}));
    const store = new StoreClient({ dbUri: url });
    t.teardown(() => store.aclose());
    const bus = await openBus(place, url, store, partitions);
    t.teardown(() => bus.close());
    return new BarHarness(t, url, client, bus, place, partitions);
  }

  /** One with a store and a bus of its own, started. */
  async batcher(options: Partial<MicroBatcherOptions> = {}): Promise<MicroBatcher> {
    const batcher = new MicroBatcher({
      ...(await this.#parts('batcher')),
      meter: this.meter,
      env: { log: (_level, message) => this.logged.push(message) },
      ...options,
    });
    await batcher.start();
    batcher.done.catch(() => {});
    this.#t.teardown(() => batcher.stop());
    return batcher;
  }

  async consumer(options: Partial<TickConsumerOptions> = {}): Promise<TickConsumer> {
    const consumer = new TickConsumer({ ...(await this.#parts('consumer')), ...options });
    await consumer.start();
    consumer.done.catch(() => {});
    this.#t.teardown(() => consumer.stop());
    return consumer;
  }

  async #parts(name: string): Promise<{ bus: StreamBus; storeClient: StoreClient }> {
    const storeClient = new StoreClient({ dbUri: this.url, applicationName: name });
    this.#t.teardown(() => storeClient.aclose());
    const bus = await openBus(this.#place, this.url, storeClient, this.#partitions);
    this.#t.teardown(() => bus.close());
    return { bus, storeClient };
  }

  async publish(ticks: readonly OracleTick[], more: Record<string, unknown> = {}): Promise<string[]> {
    return this.bus.publish(
      TOPIC,
      ticks.map((tick) => record(tick, more)),
    );
  }

  /** Waits until the windows of this symbol are what an oracle makes of these ticks. */
  async untilBars(symbol: string, ticks: readonly OracleTick[], windowMs = 2_000): Promise<OracleBar[]> {
    const expected = oracleBars(ticks, windowMs);
    const interval = windowMs % 1_000 === 0 ? `${windowMs / 1_000}s` : `${windowMs}ms`;
    let found: OracleBar[] = [];
    await until(
      `the bars of ${symbol}`,
      async () => {
        found = await barsIn(this.client, { symbol, interval });
        return JSON.stringify(found) === JSON.stringify(expected);
      },
      {
        deadlineMs: 20_000,
        context: () =>
          `expected ${JSON.stringify(expected)}\nfound    ${JSON.stringify(found)}\n${this.logged.slice(-20).join('\n')}`,
      },
    );
    return found;
  }

  async deadLetters(): Promise<MarketDeadLetter[]> {
    const deliveries = await this.bus.read(`${TOPIC}.dlq`, 0, null, 1_000);
    return deliveries
      .map(({ data }) => decodeDeadLetter(data ?? new Uint8Array()))
      .filter((deadLetter) => deadLetter !== null);
  }

  /** Of a metric all series together. */
  sum(name: string): number {
    let total = 0;
    for (const [key, value] of this.meter.values) if (key.startsWith(`${name}{`)) total += value;
    return total;
  }

  async one<T>(sql: string, values: unknown[] = []): Promise<T> {
    return (await this.client.query(sql, values)).rows[0] as T;
  }

  /** Everything that is on the bus is in a step of the micro-batcher. */
  async untilRead(group = 'mdp-consumers'): Promise<void> {
    await until('all is read and committed', async () => {
      for (let partition = 0; partition < this.#partitions; partition += 1) {
        const end = await this.bus.end(TOPIC, partition);
        const { rows } = await this.client.query<{ position: string }>(
          'SELECT "position" FROM bus_positions WHERE topic = $1 AND group_name = $2 AND partition = $3',
          [TOPIC, group, partition],
        );
        if (end !== null && (rows[0] === undefined || this.bus.compare(rows[0].position, end) < 0))
          return false;
      }
      return true;
    });
  }
}
