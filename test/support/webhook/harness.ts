import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import type { Client } from 'pg';
import type { StreamBus } from '../../../src/bus/bus.ts';
import {
  DEAD_LETTER_TOPIC,
  decodeDeadLetter,
  type MarketDeadLetter,
} from '../../../src/core/market/dead-letter.ts';
import { WEBHOOK_TOPIC } from '../../../src/core/market/webhook-tick.ts';
import { connect, parseDatabaseUrl } from '../../../src/store/postgres/connect.ts';
import { migrate } from '../../../src/store/schema/migrate.ts';
import { StoreClient } from '../../../src/store/store-client.ts';
import { TickFlusher, type TickFlusherOptions } from '../../../src/stream/webhook/tick-flusher.ts';
import { TickIntake, type TickIntakeOptions } from '../../../src/stream/webhook/tick-intake.ts';
import type { BusServer, StartBusServer } from '../../conformance/bus-server.ts';
import { TestBackpressure } from '../bus/publish-bus.ts';
import { testEnv } from '../bus/env.ts';
import { startKafkaBus } from '../bus/kafka-bus.ts';
import { TestMeter } from '../bus/meter.ts';
import { startPostgresBus } from '../bus/postgres-bus.ts';
import { startRedisBus } from '../servers/redis.ts';
import { startPostgres, type TestPostgres } from '../servers/postgres.ts';
import { until } from '../until.ts';
import type { FlusherTask } from './flusher-child.ts';
import { differingRanges } from './ranges-oracle.ts';

export const BUSES: Readonly<Record<string, StartBusServer>> = {
  redis: startRedisBus,
  postgres: startPostgresBus,
  kafka: startKafkaBus,
};

const program = fileURLToPath(new URL('flusher-child.ts', import.meta.url));

/** A bus server, a database of its own, flushers and an intake; all of it is closed at the end of the test. */
export class WebhookHarness {
  readonly meter = new TestMeter();
  readonly logged: string[] = [];
  readonly server: BusServer;
  readonly url: string;
  readonly partitions: number;
  readonly store: StoreClient;
  readonly bus: StreamBus;
  readonly #t: Test;

  private constructor(
    t: Test,
    parts: Pick<WebhookHarness, 'server' | 'url' | 'partitions' | 'store' | 'bus'>,
  ) {
    this.#t = t;
    this.server = parts.server;
    this.url = parts.url;
    this.partitions = parts.partitions;
    this.store = parts.store;
    this.bus = parts.bus;
  }

  static async open(t: Test, server: BusServer, postgres: TestPostgres): Promise<WebhookHarness> {
    const url = await postgres.createDatabase(undefined, { schema: false });
    const client = await connect(parseDatabaseUrl(url), { applicationName: 'test' });
    await migrate(client);
    await client.end();
    const store = new StoreClient({ dbUri: url, applicationName: 'test' });
    t.teardown(() => store.aclose());
    // as openBus() of src/run has it
    const partitions = server.kind === 'kafka' ? 3 : 1;
    const bus = await server.open({
      partitions: { [WEBHOOK_TOPIC]: partitions },
      maxBytes: 2 ** 31,
      clientName: 'test',
      checkpoints: store.busCheckpoints,
      env: testEnv(),
    });
    t.teardown(() => bus.close());
    return new WebhookHarness(t, { server, url, partitions, store, bus });
  }

  intake(options: Partial<TickIntakeOptions> = {}): TickIntake {
    return new TickIntake({
      bus: this.bus,
      backpressure: new TestBackpressure(),
      meter: this.meter,
      ...options,
    });
  }

  async flusher(options: Partial<TickFlusherOptions> = {}): Promise<TickFlusher> {
    const flusher = new TickFlusher({
      bus: this.bus,
      storeClient: this.store,
      flushIntervalMs: 100,
      meter: this.meter,
      env: testEnv({ log: (_level, message) => this.logged.push(message) }),
      ...options,
    });
    await flusher.start();
    this.#t.teardown(() => flusher.stop());
    return flusher;
  }

  /** A flusher in a process of its own. */
  flusherChild(
    member: string,
    more: Partial<FlusherTask> = {},
  ): { child: ChildProcess; kill: () => Promise<void> } {
    const { module, address } = this.server.opener;
    const task: FlusherTask = {
      module: module.href,
      address,
      databaseUrl: this.url,
      partitions: this.partitions,
      member,
      holdAck: false,
      ...more,
    };
    const child = spawn(process.execPath, [program, JSON.stringify(task)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const kill = async (): Promise<void> => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, 'exit');
      child.kill('SIGKILL');
      await gone;
    };
    this.#t.teardown(kill);
    return { child, kill };
  }

  async #client<T>(work: (client: Client) => Promise<T>): Promise<T> {
    const client = await connect(parseDatabaseUrl(this.url), { applicationName: 'test' });
    try {
      return await work(client);
    } finally {
      await client.end();
    }
  }

  async count(): Promise<number> {
    return this.#client(async (client) => {
      const { rows } = await client.query<{ n: string }>('SELECT count(*) AS n FROM md_ticks');
      return Number(rows[0].n);
    });
  }

  /** Waits until so many ticks are stored; as long as their number grows. */
  async untilStored(ticks: number): Promise<void> {
    let stored = -1;
    await until(
      `${ticks} ticks are stored`,
      async () => {
        stored = await this.count().catch(() => stored);
        return stored >= ticks;
      },
      { progress: () => stored, context: () => `${stored} are` },
    );
  }

  /** Every row of md_ticks, as keys with their digits, sorted. */
  rows(): Promise<string[]> {
    return this.#client(async (client) => {
      const { rows } = await client.query<{ row: string }>(
        `SELECT concat_ws('|', source, symbol, seq, price, volume) AS row FROM md_ticks`,
      );
      return rows.map(({ row }) => row).sort();
    });
  }

  differing(): Promise<unknown[]> {
    return this.#client(differingRanges);
  }

  async one<T>(sql: string): Promise<T> {
    return this.#client(async (client) => (await client.query(sql)).rows[0] as T);
  }

  async deadLetters(): Promise<MarketDeadLetter[]> {
    const letters = (await this.bus.read(DEAD_LETTER_TOPIC, 0, null, 1_000)).map(({ data }) =>
      data === null ? null : decodeDeadLetter(data),
    );
    return letters.filter((letter) => letter !== null);
  }

  /** Waits until the group has nothing in hand and nothing to come. */
  async untilAcknowledged(): Promise<void> {
    await until('everything is acknowledged', async () => {
      const groups = await this.bus.groups(WEBHOOK_TOPIC);
      return groups.length > 0 && groups.every(({ pending, lag }) => pending === 0 && (lag ?? 0) === 0);
    });
  }
}

let postgres: Promise<TestPostgres> | null = null;

/** One Postgres for the stores of a test file. */
export function storeServer(): Promise<TestPostgres> {
  postgres ??= startPostgres();
  return postgres;
}

export async function stopStoreServer(): Promise<void> {
  await (await postgres)?.stop();
}
