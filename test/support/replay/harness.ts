import { createHash } from 'node:crypto';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Client } from 'pg';
import type { StreamBus } from '../../../src/bus/bus.ts';
import type { ReplayFields } from '../../../src/core/replay/request.ts';
import { systemClock } from '../../../src/core/time.ts';
import { Replays } from '../../../src/serve/replay/replays.ts';
import { TickReplayer, type TickReplayerOptions } from '../../../src/serve/replay/tick-replayer.ts';
import { connect, parseDatabaseUrl } from '../../../src/store/postgres/connect.ts';
import { ReadPool } from '../../../src/store/queries/read-pool.ts';
import type { ReplayRunView } from '../../../src/store/replay/views.ts';
import { migrate } from '../../../src/store/schema/migrate.ts';
import { StoreClient } from '../../../src/store/store-client.ts';
import type { BusServer } from '../../conformance/bus-server.ts';
import { testEnv } from '../bus/env.ts';
import { TestMeter } from '../bus/meter.ts';
import { TestBackpressure } from '../bus/publish-bus.ts';
import { until } from '../until.ts';
import type { ReplayerTask } from './replayer-child.ts';

export const TOPIC = 'mdp.events';
export const SYMBOLS = ['AAPL', 'MSFT', 'NVDA', 'SPY'];
/** Where made ticks begin. */
export const START = '2025-11-03T14:00:00.000000Z';

const program = fileURLToPath(new URL('replayer-child.ts', import.meta.url));

export interface Message {
  event_id: string;
  provider: string;
  symbol: string;
  kind: string;
  src_ts: string;
  seq: number | string;
  price?: number;
  size?: number;
  bid?: number;
  ask?: number;
  side?: string;
  replay_run_id: number;
  [name: string]: unknown;
}

/** A bus, a database of its own and replayers on them; close() ends all of it. */
export class ReplayHarness {
  readonly server: BusServer;
  readonly url: string;
  readonly client: Client;
  readonly store: StoreClient;
  readonly bus: StreamBus;
  readonly replays: Replays;
  readonly meter = new TestMeter();
  readonly logged: string[] = [];
  readonly #reads: ReadPool;
  readonly #closing: (() => Promise<unknown>)[] = [];

  private constructor(parts: Pick<ReplayHarness, 'server' | 'url' | 'client' | 'store' | 'bus'>) {
    this.server = parts.server;
    this.url = parts.url;
    this.client = parts.client;
    this.store = parts.store;
    this.bus = parts.bus;
    this.#reads = new ReadPool({ databaseUrl: this.url });
    const env = { clock: systemClock };
    this.replays = new Replays({ store: this.store.replay, reads: this.#reads, topic: TOPIC, env });
  }

  /** @param url an empty database, or one with the schema */
  static async open(server: BusServer, url: string): Promise<ReplayHarness> {
    const client = await connect(parseDatabaseUrl(url), {
      applicationName: 'test',
      idleInTransactionTimeoutMs: 0,
    });
    await migrate(client);
    const store = new StoreClient({ dbUri: url, applicationName: 'test' });
    const bus = await server.open({
      partitions: {},
      maxBytes: 2 ** 32,
      clientName: 'test',
      checkpoints: store.busCheckpoints,
      env: testEnv(),
    });
    return new ReplayHarness({ server, url, client, store, bus });
  }

  /** Ticks of the provider made, `everyUs` apart, round the symbols; some values are null. */
  async makeTicks(count: number, everyUs: number, provider = 'made'): Promise<void> {
    await this.client.query(
      `INSERT INTO tick_data (provider, symbol, price, ts, size, bid, ask, side, seq)
       SELECT $1, ($2::text[])[1 + i % ${SYMBOLS.length}], 100 + (i % 977) / 100.0,
              timestamptz '${START}' + (i / 2 * 2 * $3::float8) * interval '1 microsecond',
              CASE WHEN i % 5 > 0 THEN i % 100 END, CASE WHEN i % 3 > 0 THEN 99.5 END, 100.5,
              CASE i % 3 WHEN 1 THEN 1 WHEN 2 THEN -1 END, i
         FROM generate_series(0, $4::int - 1) i`,
      [provider, SYMBOLS, everyUs, count],
    );
  }

  fields(more: ReplayFields = {}): ReplayFields {
    return { provider: 'made', symbols: SYMBOLS, start: START, end: '2025-11-04', speed: 0, ...more };
  }

  async replayer(options: Partial<TickReplayerOptions> = {}): Promise<TickReplayer> {
    const replayer = new TickReplayer({
      bus: this.bus,
      backpressure: new TestBackpressure(),
      store: this.store.replay,
      reads: new ReadPool({ databaseUrl: this.url }),
      topic: TOPIC,
      holder: 'replayer',
      meter: this.meter,
      env: testEnv({ log: (_level, message) => this.logged.push(message) }),
      ...options,
    });
    await replayer.start();
    this.#closing.push(() => replayer.stop());
    return replayer;
  }

  /** A replayer in a process of its own. */
  async child(holder: string): Promise<{ process: ChildProcess; kill: () => Promise<void> }> {
    const { module, address } = this.server.opener;
    const task: ReplayerTask = { module: module.href, address, databaseUrl: this.url, holder };
    const child = spawn(process.execPath, [program, JSON.stringify(task)], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let said = '';
    child.stderr.on('data', (text) => (said += String(text)));
    const kill = async (): Promise<void> => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, 'exit');
      child.kill('SIGKILL');
      await gone;
    };
    this.#closing.push(kill);
    let isStarted = false;
    child.stdout.once('data', () => (isStarted = true));
    await until('the replayer has started', () => isStarted, { context: () => said });
    return { process: child, kill };
  }

  run(runId: bigint | number): Promise<ReplayRunView> {
    return this.replays.show(BigInt(runId));
  }

  /** Waits as long as it goes on. */
  async ended(runId: bigint | number): Promise<ReplayRunView> {
    let run: ReplayRunView | null = null;
    return until(
      `run ${runId} has ended`,
      async () => {
        run = await this.run(runId);
        return run.completed_at !== null && run;
      },
      {
        progress: () => run?.rows_written,
        context: () => JSON.stringify(run) + this.logged.slice(-5).join('\n'),
      },
    );
  }

  async untilEmitted(runId: bigint | number, ticks: number): Promise<void> {
    let emitted = -1;
    await until(
      `run ${runId} has emitted ${ticks}`,
      async () => {
        emitted = (await this.run(runId)).rows_written;
        return emitted >= ticks;
      },
      { progress: () => emitted },
    );
  }

  /** What a topic holds, in order. */
  async messages(runId: bigint | number, topic = TOPIC): Promise<Message[]> {
    const all: Message[] = [];
    let after: string | null = null;
    for (;;) {
      const records = await this.bus.read(topic, 0, after, 10_000);
      if (records.length === 0) return all.filter(({ replay_run_id }) => replay_run_id === Number(runId));
      for (const { data, position } of records) {
        all.push(JSON.parse(Buffer.from(data ?? []).toString()) as Message);
        after = position;
      }
    }
  }

  /** Every tick of the provider made, in order, as its message has it. */
  async stored(): Promise<Record<string, unknown>[]> {
    const { rows } = await this.client.query<{ row: Record<string, unknown> }>(
      `SELECT jsonb_strip_nulls(jsonb_build_object('provider', provider, 'symbol', symbol, 'seq', seq, 'price', price, 'size', size,
          'bid', bid, 'ask', ask, 'side', CASE side WHEN 1 THEN 'buy' WHEN -1 THEN 'sell' END,
          'src_ts', to_char(ts AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))) AS row
         FROM tick_data ORDER BY ts, provider, symbol, seq`,
    );
    return rows.map(({ row }) => row);
  }

  /** A hash of the whole table: it is not touched. */
  async tableHash(): Promise<string> {
    const { rows } = await this.client.query<{ hash: string }>(
      `SELECT md5(string_agg(md5(t::text), '' ORDER BY ts, provider, symbol, seq)) AS hash FROM tick_data t`,
    );
    return rows[0].hash;
  }

  async close(): Promise<void> {
    for (const close of this.#closing.splice(0).toReversed()) await close();
    await this.#reads.close();
    await this.bus.close();
    await this.store.aclose();
    await this.client.end();
  }
}

/** The part of a message that the table has. */
export function contentOf(message: Message): Record<string, unknown> {
  const { provider, symbol, seq, price, size, bid, ask, side, src_ts } = message;
  const fields = { provider, symbol, seq, price, size, bid, ask, side, src_ts };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/** The digest of messages, by its description and nothing of the program. */
export function digestOf(messages: readonly Message[]): string {
  const hash = createHash('sha256');
  for (const { provider, symbol, src_ts, seq, price, size, bid, ask, side } of messages) {
    const fixed = Buffer.alloc(49);
    const micros = BigInt(Date.parse(`${src_ts.slice(0, 19)}Z`)) * 1000n + BigInt(src_ts.slice(20, 26));
    fixed.writeBigInt64BE(micros, 0);
    fixed.writeBigInt64BE(BigInt(seq), 8);
    for (const [at, value] of [price, size, bid, ask].entries()) {
      if (value === undefined) fixed.writeBigUInt64BE(0x7ff8000000000000n, 16 + at * 8);
      else fixed.writeDoubleBE(value, 16 + at * 8);
    }
    fixed.writeInt8(side === 'buy' ? 1 : side === 'sell' ? -1 : 0, 48);
    hash.update(`${provider}\0${symbol}\0`).update(fixed);
  }
  return hash.digest('hex');
}
