import assert from 'node:assert/strict';
import type { Client } from 'pg';
import { Daemon, startDaemon, type DaemonStart } from './daemon.ts';
import {
  compareStored,
  isConnectionLoss,
  openClient,
  type Compared,
  type CompareOptions,
} from './content/oracle.ts';
import { expectedTicks, type ChainSpec, type ExpectedTick } from './content/expected.ts';
import { checkInvariants, readPosition, type CheckOptions, type Snapshot } from './invariants.ts';
import { PostgresProxy } from '../servers/postgres-proxy.ts';
import { seededRandom, type Random } from '../random.ts';
import { Sequencer } from './sequencer.ts';
import { until } from '../until.ts';

/** without any progress */
const STUCK_MS = 120_000;

export interface IngestHarnessOptions {
  /** of a database with the schema, the harness's own */
  databaseUrl: string;
  spec: ChainSpec;
  /** ticks of the chain, all there from the start; null: it grows by spec.ticksPerSecond, see settle() */
  count: number | null;
  /** more arguments for the simulator: faults */
  sim?: readonly string[];
  /** other arguments in the place of those that make it serve `spec` */
  simArgs?: readonly string[];
  /** the daemon speaks with the sequencer through a proxy */
  simProxied?: boolean;
  /** the daemon speaks with the database through a proxy */
  proxied?: boolean;
  /** variables of every daemon */
  env?: Record<string, string>;
  /** what the proxies draw from */
  random?: Random;
}

/** A chain, a simulator that serves it, a database, and the daemons that a test starts between them. */
export class IngestHarness {
  readonly spec: ChainSpec;
  readonly databaseUrl: string;
  readonly sim: Sequencer;
  readonly proxy: PostgresProxy | null;
  readonly daemons: Daemon[] = [];
  readonly #proxies: PostgresProxy[] = [];
  readonly #random: Random;
  readonly #env: Record<string, string>;
  #count: number | null;
  #client: Client | null = null;
  /** rows of ticks up to this one were found in order, see look() */
  #settled: bigint | null = null;
  /** the chain beyond what compareNext() has seen */
  readonly #ahead: Iterator<ExpectedTick>;
  #compared: bigint;

  private constructor(
    options: IngestHarnessOptions,
    random: Random,
    sim: Sequencer,
    proxy: PostgresProxy | null,
  ) {
    this.spec = options.spec;
    this.databaseUrl = options.databaseUrl;
    this.sim = sim;
    this.proxy = proxy;
    this.#random = random;
    this.#env = options.env ?? {};
    this.#count = options.count;
    this.#ahead = expectedTicks(options.spec, Infinity);
    this.#compared = options.spec.first - 1n;
    if (proxy !== null) this.#proxies.push(proxy);
  }

  static async open(options: IngestHarnessOptions): Promise<IngestHarness> {
    const random = options.random ?? seededRandom();
    const sim = await Sequencer.start({ ...options, random: random.fork() });
    const isProxied = options.proxied === true;
    const proxy = isProxied ? await PostgresProxy.at(options.databaseUrl, { random: random.fork() }) : null;
    return new IngestHarness(options, random, sim, proxy);
  }

  /** One more way to the database, for a daemon of its own. */
  async openProxy(): Promise<PostgresProxy> {
    const proxy = await PostgresProxy.at(this.databaseUrl, { random: this.#random.fork() });
    this.#proxies.push(proxy);
    return proxy;
  }

  /** ticks of the chain */
  get count(): number {
    if (this.#count === null) throw new Error('the chain grows: settle() says how long it was');
    return this.#count;
  }

  get last(): bigint {
    return this.spec.first + BigInt(this.count) - 1n;
  }

  /** Stops the daemon; of a chain that grows, what is recorded then is all that there was. */
  async settle(daemon: Daemon): Promise<void> {
    await daemon.stop();
    const position = await this.position();
    this.#count = Number((position ?? this.spec.first - 1n) - this.spec.first + 1n);
  }

  /** For looking at the database; not through a proxy. Made anew after its server went away. */
  async client(): Promise<Client> {
    if (this.#client !== null) return this.#client;
    const client = await openClient(this.databaseUrl);
    client.once('error', () => {
      if (this.#client === client) this.#client = null;
    });
    return (this.#client = client);
  }

  /** Before the server goes away under it. */
  async dropClient(): Promise<void> {
    const client = this.#client;
    this.#client = null;
    await client?.end().catch(() => {});
  }

  /** Variables of its daemons, and of commands beside them. */
  environment(proxy: PostgresProxy | null = this.proxy): Record<string, string> {
    return {
      CONTINUUM_GRPC_URL: this.sim.address,
      DATABASE_URL: proxy?.url(this.databaseUrl) ?? this.databaseUrl,
      START_TICK: `${this.spec.first}`,
      ...this.#env,
    };
  }

  daemon({ proxy, ...start }: Partial<DaemonStart> & { proxy?: PostgresProxy | null } = {}): Daemon {
    const daemon = startDaemon({ ...start, env: { ...this.environment(proxy), ...start.env } });
    this.daemons.push(daemon);
    return daemon;
  }

  /** A server that is away is waited for. */
  position = (): Promise<bigint | null> => this.reading((client) => readPosition(client));

  /** Asks again while the connection breaks. */
  async reading<T>(read: (client: Client) => Promise<T>): Promise<T> {
    const answer = await until('the database answers', async () => {
      try {
        return { value: await read(await this.client()) };
      } catch (error) {
        if (!isConnectionLoss(error)) throw error;
        await this.dropClient();
        return null;
      }
    });
    return answer.value;
  }

  /**
   * Waits until everything up to this tick is recorded; fails at once when the daemon ends.
   * @param stuckMs how long the position may stay where it is
   */
  async untilPosition(tick: bigint, daemon?: Daemon, stuckMs = STUCK_MS): Promise<void> {
    let last: bigint | null = null;
    await until(
      `the position is ${tick}`,
      async () => {
        last = await this.position();
        if (daemon !== undefined && daemon.exit !== null && (last ?? -1n) < tick) {
          throw new Error(`ended with ${JSON.stringify(daemon.exit)} at position ${last}\n${daemon.tail()}`);
        }
        return last !== null && last >= tick;
      },
      {
        deadlineMs: stuckMs,
        progress: () => last,
        context: () => `position ${last}\n${(daemon ?? this.daemons.at(-1))?.tail()}`,
      },
    );
  }

  untilCaughtUp(daemon?: Daemon, stuckMs?: number): Promise<void> {
    return this.untilPosition(this.last, daemon, stuckMs);
  }

  /** Half a second of a growing chain is written beyond what there is now: everything works again. */
  async untilItGoesOn(daemon?: Daemon): Promise<void> {
    const position = (await this.position()) ?? this.spec.first - 1n;
    await this.untilPosition(position + this.spec.ticksPerSecond / 2n, daemon);
  }

  /** Polled every millisecond, for a fault that must follow at once. */
  async untilWritten(ticks: number, daemon: Daemon): Promise<void> {
    await until(
      `${ticks} ticks written`,
      () => {
        assert.equal(daemon.exit, null, daemon.tail());
        return daemon.ticksWritten >= ticks;
      },
      { pollMs: 1, context: () => daemon.state() },
    );
  }

  async check(options: CheckOptions = {}): Promise<Snapshot> {
    return checkInvariants(await this.client(), options);
  }

  /** The same, but of rows that were in order and complete before it looks at counts alone. */
  async look(client?: Client): Promise<Snapshot> {
    const settled = this.#settled;
    const snapshot =
      client === undefined
        ? await this.reading((own) => checkInvariants(own, { settled }))
        : await checkInvariants(client, { settled });
    // two may look at the same time, and a database can go backwards
    if (this.#settled === settled) this.#settled = snapshot.completeUpTo;
    return snapshot;
  }

  /** What came to be recorded since the last call, row by row against the recomputed chain. */
  async compareNext(): Promise<void> {
    const upTo = (await this.position()) ?? this.spec.first - 1n;
    const after = this.#compared;
    if (upTo <= after) return;
    const next = Array.from({ length: Number(upTo - after) }, () => this.#ahead.next().value as ExpectedTick);
    await compareStored(this.databaseUrl, next, { range: { after, upTo } });
    this.#compared = upTo;
  }

  /** Row by row against the recomputed chain. */
  compare(options: CompareOptions = {}): Promise<Compared> {
    return compareStored(this.databaseUrl, expectedTicks(this.spec, this.count), options);
  }

  /** The end of nearly every test: equality, the invariants with all hashes, no open gap and no dead letter. */
  async verify({ deadLetters = 'none' }: { deadLetters?: 'none' | 'some' } = {}): Promise<Compared> {
    // without statistics the planner of PostgreSQL 15 joins fresh hypertables by nested loops: minutes for seconds
    await (await this.client()).query('ANALYZE ticks, vdf_proofs, tick_transactions');
    const compared = await this.compare();
    const snapshot = await this.check({ hashes: true, atRest: true });
    if (deadLetters === 'none') assert.equal(snapshot.deadLetters, 0n, 'dead letters');
    assert.deepEqual(snapshot.openGaps, []);
    return compared;
  }

  /** start_tick of every stream that was opened, in order. */
  starts(): bigint[] {
    return this.sim.log().flatMap((event) => (event.event === 'stream' ? [BigInt(event.start_tick!)] : []));
  }

  async close(): Promise<void> {
    for (const daemon of this.daemons) await daemon.end();
    await this.sim.stop();
    for (const proxy of this.#proxies) await proxy.stop();
    await this.dropClient();
  }
}

/** Opens an ingest harness, closes it whatever happens. */
export async function withIngester<T>(
  options: IngestHarnessOptions,
  work: (harness: IngestHarness) => Promise<T>,
): Promise<T> {
  const harness = await IngestHarness.open(options);
  try {
    return await work(harness);
  } finally {
    await harness.close();
  }
}
