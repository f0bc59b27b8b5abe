import { testEnv } from '../../support/bus/env.ts';
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import { from as copyFrom } from 'pg-copy-streams';
import type { Client } from 'pg';
import type { StreamBus } from '../../../src/bus/bus.ts';
import type { TickEvent } from '../../../src/core/market/event.ts';
import { SyntheticTicks } from '../../../src/core/market/synthetic/synthetic.ts';
import { formatMicros, systemClock } from '../../../src/core/time.ts';
import { connect, parseDatabaseUrl } from '../../../src/store/postgres/connect.ts';
import { migrate } from '../../../src/store/schema/migrate.ts';
import type { BusServer, StartBusServer } from '../../conformance/bus-server.ts';
import { startKafkaBus } from '../../support/bus/kafka-bus.ts';
import { Program } from '../../support/run/program.ts';
import { startPostgresBus } from '../../support/bus/postgres-bus.ts';
import { startRedisBus } from '../../support/servers/redis.ts';
import { until } from '../../support/until.ts';
import { Skipped, type ScenarioContext } from '../harness.ts';

export type BusName = 'redis' | 'kafka' | 'postgres';
export const BUSES: readonly BusName[] = ['redis', 'kafka', 'postgres'];

export const START: Readonly<Record<BusName, StartBusServer>> = {
  redis: startRedisBus,
  kafka: startKafkaBus,
  postgres: startPostgresBus,
};

/** the seed's own, so that dead members are not waited for */
const TAKEOVER_MS = 3_000;
const STANDSTILL_MS = 60_000;
/** for bars of what lies on the bus: nothing more comes */
const BARS_SOON = `micro_batch:
  idle_timeout: 500ms
`;
export const TOPIC = 'mdp.events';
const GROUP = 'tick-consumer';
const DLQ = 'mdp.events.dlq';
const START_MICROS = 1_755_945_303_000_000n;
const DAY_MICROS = 86_400_000_000n;
export const SYMBOLS = ['SPY', 'AAPL', 'MSFT', 'NVDA', 'AMZN', 'GOOG', 'META', 'TSLA', 'AMD', 'INTC'];
const PRODUCER = { seed: 11, tickRate: 500, volatility: 0.02, spreadBps: 2 };

/** One part of the made-up events: what `mdp stream produce` is told, and what the oracle draws again. */
export interface Part {
  /** from 0: each has a seed and a month of its own */
  index: number;
  count: number;
  /** events a second, by the clock and by their times, which then begin now; 0: as fast as it goes, with times of the past */
  rate: number;
  startMicros: bigint;
}

/** A part that is published as fast as the bus takes it. */
export function burst(index: number, count: number): Part {
  return { index, count, rate: 0, startMicros: START_MICROS + BigInt(index) * 30n * DAY_MICROS };
}

/** A part whose events come with the clock. */
export function paced(index: number, count: number, rate: number): Part {
  return { index, count, rate, startMicros: systemClock.nowMicros() };
}

/** What differs from the defaults in the configuration of every program here. */
export interface BusHarnessConfig {
  /** of mdp.events */
  partitions?: number;
  /** most ticks of one transaction */
  batchMax?: number;
  /** what the bus may hold, such as 16GiB; default: the configuration's */
  maxBytes?: string;
  /** further sections, as they stand in streaming.yaml */
  sections?: string;
}

/** One bus with a database, and programs on them as an operator runs them. */
export class BusHarness {
  readonly name: BusName;
  readonly server: BusServer;
  readonly databaseUrl: string;
  /** of the store; made anew when its server was crashed, or its connections were cut */
  client: Client;
  readonly bus: StreamBus;
  readonly #folder: string;
  readonly #programs: Program[] = [];
  /** duration of each batch that any consumer wrote, ms */
  readonly writesMs: number[] = [];

  private constructor(parts: {
    name: BusName;
    server: BusServer;
    databaseUrl: string;
    client: Client;
    bus: StreamBus;
    folder: string;
  }) {
    this.name = parts.name;
    this.server = parts.server;
    this.databaseUrl = parts.databaseUrl;
    this.client = parts.client;
    this.bus = parts.bus;
    this.#folder = parts.folder;
  }

  /** @throws Skipped when the bus cannot be had on this machine */
  static async with<T>(
    name: BusName,
    context: ScenarioContext,
    work: (harness: BusHarness) => Promise<T>,
    config: BusHarnessConfig = {},
  ): Promise<T> {
    const server = await START[name]();
    if ('skip' in server) throw new Skipped(server.skip);
    let harness: BusHarness | null = null;
    try {
      harness = await BusHarness.#open(name, server, context, config);
      return await work(harness);
    } finally {
      await harness?.close();
      await server.stop();
    }
  }

  static async #open(
    name: BusName,
    server: BusServer,
    context: ScenarioContext,
    { partitions = 1, batchMax, maxBytes, sections = BARS_SOON }: BusHarnessConfig,
  ): Promise<BusHarness> {
    // the postgres bus lies in the database of the ticks, as it does in real life
    const databaseUrl = name === 'postgres' ? server.opener.address : await context.database();
    const client = await openClient(databaseUrl);
    await migrate(client);
    const folder = await mkdtemp(join(tmpdir(), 'tick-bus-'));
    const address = server.opener.address;
    const place =
      name === 'redis'
        ? `redis:\n    uri: ${address}`
        : name === 'kafka'
          ? `kafka:\n    brokers: ${address}`
          : '';
    await writeFile(
      join(folder, 'streaming.yaml'),
      `version: 1
bus:
  type: ${name}
  partitions: ${partitions}
${maxBytes === undefined ? '' : `  max_bytes: ${maxBytes}\n`}  ${place}
producers:
  synthetic:
    symbols: [${SYMBOLS.join(', ')}]
    tick_rate: ${PRODUCER.tickRate}
    price_volatility: ${PRODUCER.volatility}
    spread_bps: ${PRODUCER.spreadBps}
tick_consumer:
  takeover: ${TAKEOVER_MS}ms
${batchMax === undefined ? '' : `  batch_max: ${batchMax}\n`}${sections}`,
    );
    const checkpoints = {
      read: () => Promise.resolve(null),
      write: noop,
      starting: () => Promise.resolve(1),
      drop: noop,
    };
    const bus = await server.open({
      partitions: { [TOPIC]: partitions, 'mdp.signals': partitions },
      maxBytes: 2 ** 31,
      clientName: 'prove',
      checkpoints,
      env: testEnv({ random: () => context.random.next() }),
    });
    return new BusHarness({ name, server, databaseUrl, client, bus, folder });
  }

  /** Kills the server of the bus and starts it again. */
  async crash(): Promise<void> {
    await this.server.crash();
    await this.#connectAgain();
  }

  /** Cuts every connection to the bus. */
  async cutConnections(): Promise<void> {
    await this.server.cutConnections();
    await this.#connectAgain();
  }

  /** The store's server is the bus's where that is postgres. */
  async #connectAgain(): Promise<void> {
    if (this.name === 'postgres') await this.reconnect();
  }

  /** A new session of its own, where the server of the database was stopped meanwhile. */
  async reconnect(): Promise<void> {
    await this.client.end().catch(() => {});
    this.client = await openClient(this.databaseUrl);
  }

  /** A file of this harness's own, gone with it. */
  file(name: string): string {
    return join(this.#folder, name);
  }

  /** The configuration that every program here has. */
  get configFile(): string {
    return join(this.#folder, 'streaming.yaml');
  }

  /** `mdp stream ticks` as a process. */
  consumer(name: string, batchSize?: number): Program {
    const args = ['ticks', '--consumer', name, '--metrics-port', '0'];
    if (batchSize !== undefined) args.push('--batch-size', `${batchSize}`);
    return this.program(args, ({ msg, duration_ms: durationMs }) => {
      if (msg === 'TickConsumer wrote batch' && typeof durationMs === 'number')
        this.writesMs.push(durationMs);
    });
  }

  /** `mdp stream produce --provider synthetic` as a process. */
  producer({ index, count, rate, startMicros }: Part): Program {
    const amount = `--count ${count} --rate ${rate} --seed ${seedOf(index)} --start ${formatMicros(startMicros)}`;
    return this.program(`produce --provider synthetic --metrics-port 0 ${amount}`.split(' '));
  }

  /** `mdp stream …` as a process, with these variables; it is killed when the harness closes. */
  program(
    args: readonly string[],
    onLine?: (line: Record<string, unknown>) => void,
    env: Readonly<Record<string, string>> = {},
  ): Program {
    return this.command(['stream', ...args], env, onLine);
  }

  /** Any other `mdp` that works on the bus. @param env beyond DATABASE_URL */
  command(
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
    onLine?: (line: Record<string, unknown>) => void,
  ): Program {
    const program = new Program(
      'mdp',
      [...args, '--config', this.configFile],
      { DATABASE_URL: this.databaseUrl, ...env },
      onLine,
    );
    this.#programs.push(program);
    return program;
  }

  /** All records published by a producer that ends by itself. */
  async produced(program: Program): Promise<void> {
    const { code } = await program.ended;
    assert.equal(code, 0, program.tail);
  }

  async stored(): Promise<number> {
    const { rows } = await this.client.query<{ n: string }>('SELECT count(*) AS n FROM tick_data');
    return Number(rows[0]?.n);
  }

  /** Cheap while millions are written: what the consumers' runs report is some seconds old. */
  async untilStored(count: number, ...consumers: readonly Program[]): Promise<void> {
    await until(`${count} ticks are stored`, async () => (await this.stored()) >= count, {
      deadlineMs: STANDSTILL_MS,
      pollMs: 250,
      progress: () => this.writesMs.length,
      context: () => consumers.map(({ tail }) => tail).join('\n'),
    });
  }

  /** Nothing is pending and nothing waits. */
  async untilSettled(): Promise<void> {
    await until(
      'the group has nothing left',
      async () => {
        const groups = await this.bus.groups(TOPIC);
        return groups.length > 0 && groups.every(({ pending, lag }) => pending === 0 && (lag ?? 0) === 0);
      },
      {
        deadlineMs: STANDSTILL_MS,
        pollMs: 250,
        context: async () => JSON.stringify(await this.bus.groups(TOPIC)),
      },
    );
  }

  async pending(): Promise<number> {
    const groups = await this.bus.groups(TOPIC);
    return groups.filter(({ group }) => group === GROUP).reduce((sum, { pending }) => sum + pending, 0);
  }

  /** What was published and not acknowledged: kafka does not tell what of it was handed out. */
  async inHand(): Promise<number> {
    const groups = await this.bus.groups(TOPIC);
    return groups.reduce((sum, { pending, lag }) => sum + pending + (lag ?? 0), 0);
  }

  /** The dead letters by their id, as `mdp dlq` counts them. */
  async deadLetters(): Promise<Map<string, Record<string, unknown>>> {
    const letters = new Map<string, Record<string, unknown>>();
    let after: string | null = null;
    for (;;) {
      const records = await this.bus.read(DLQ, 0, after, 1_000);
      if (records.length === 0) return letters;
      for (const { data, position } of records) {
        const letter = JSON.parse(Buffer.from(data ?? []).toString()) as Record<string, unknown>;
        letters.set(String(letter['event_id']), letter);
        after = position;
      }
    }
  }

  /**
   * Draws the events again, straight from the generator, into a table of their own, and compares both ways. Returns how
   * many there are.
   */
  async compare(parts: readonly Part[]): Promise<number> {
    await this.client
      .query(`DROP TABLE IF EXISTS expected; CREATE UNLOGGED TABLE expected (provider text COLLATE "C",
      symbol text COLLATE "C", ts timestamptz, seq bigint, price float8, size float8, bid float8, ask float8, side smallint)`);
    let total = 0;
    for (const part of parts) {
      const sink = this.client.query(copyFrom('COPY expected FROM STDIN'));
      await pipeline(Readable.from(textRows(part)), sink);
      total += part.count;
    }
    await this.client.query("SET work_mem = '256MB'");
    const { rows } = await this.client.query<{ different: string; stored: string }>(
      `SELECT count(*) FILTER (WHERE d.price IS DISTINCT FROM e.price OR d.size IS DISTINCT FROM e.size
                OR d.bid IS DISTINCT FROM e.bid OR d.ask IS DISTINCT FROM e.ask OR d.side IS DISTINCT FROM e.side) AS different,
              count(d.symbol) AS stored
         FROM expected e FULL JOIN tick_data d USING (provider, symbol, ts, seq)`,
    );
    assert.deepEqual(rows[0], { different: '0', stored: `${total}` });
    return total;
  }

  async close(): Promise<void> {
    for (const program of this.#programs) if (program.end === null) await program.kill();
    await this.bus.close();
    await this.client.end();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

function openClient(databaseUrl: string): Promise<Client> {
  return connect(parseDatabaseUrl(databaseUrl), { applicationName: 'prove', idleInTransactionTimeoutMs: 0 });
}

const noop = (): Promise<void> => Promise.resolve();

function seedOf(index: number): string {
  return `${PRODUCER.seed + index}`;
}

function generatorOf({ index, rate, startMicros }: Part): SyntheticTicks {
  const { tickRate, volatility, spreadBps } = PRODUCER;
  return new SyntheticTicks({
    seed: seedOf(index),
    startMicros,
    provider: 'synthetic',
    symbols: SYMBOLS,
    tickRate: rate === 0 ? tickRate : rate / SYMBOLS.length,
    priceVolatility: volatility,
    spreadBps,
    priceStep: { step: 1, decimals: 2 },
  });
}

const ROWS_PER_CHUNK = 1_000;

function* textRows(part: Part): Generator<string> {
  const generator = generatorOf(part);
  let chunk: string[] = [];
  for (let row = 0; row < part.count; row += 1) {
    chunk.push(textRow(generator.next()));
    if (chunk.length < ROWS_PER_CHUNK) continue;
    yield chunk.join('');
    chunk = [];
  }
  yield chunk.join('');
}

function textRow({ provider, symbol, srcTs, seq, price, size, bid, ask, side }: TickEvent): string {
  const values = [provider, symbol, formatMicros(srcTs), seq, price, size, bid, ask, side];
  return `${values.map((value) => value ?? '\\N').join('\t')}\n`;
}
