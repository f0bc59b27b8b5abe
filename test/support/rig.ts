import type { Client } from 'pg';
import { Daemon, startDaemon, type DaemonStart } from './daemon.ts';
import { compareStored, openClient, type Compared, type CompareOptions } from './oracle.ts';
import { expectedTicks, growingSimArguments, simArguments, type ChainSpec } from './expected.ts';
import { checkInvariants, readPosition, type CheckOptions, type Snapshot } from './invariants.ts';
import { PostgresProxy } from './proxy.ts';
import { startSim, type RunningSim } from './sim.ts';
import { until } from './until.ts';

/** A simulator must not outlive a test process that was killed. */
const SIM_LIFE_MS = 3_600_000;

export interface RigOptions {
  /** of a database with the schema, the rig's own */
  databaseUrl: string;
  spec: ChainSpec;
  /** ticks of the chain, all there from the start; null: it grows by spec.ticksPerSecond, see settle() */
  count: number | null;
  /** more arguments for the simulator: faults */
  sim?: readonly string[];
  /** other arguments in the place of those that make it serve `spec` */
  simArgs?: readonly string[];
  /** the daemon speaks with the database through a proxy */
  proxied?: boolean;
  /** variables of every daemon */
  env?: Record<string, string>;
}

/** A chain, a simulator that serves it, a database, and the daemons that a test starts between them. */
export class Rig {
  readonly spec: ChainSpec;
  #count: number | null;
  readonly databaseUrl: string;
  readonly sim: RunningSim;
  readonly proxy: PostgresProxy | null;
  readonly daemons: Daemon[] = [];
  readonly #env: Record<string, string>;
  #client: Client | null = null;

  private constructor(options: RigOptions, sim: RunningSim, proxy: PostgresProxy | null) {
    this.spec = options.spec;
    this.#count = options.count;
    this.databaseUrl = options.databaseUrl;
    this.sim = sim;
    this.proxy = proxy;
    this.#env = options.env ?? {};
  }

  static async open(options: RigOptions): Promise<Rig> {
    const { spec, count } = options;
    const content =
      options.simArgs ?? (count === null ? growingSimArguments(spec) : simArguments(spec, count));
    const life = ['--exit-after-ms', `${SIM_LIFE_MS}`];
    const sim = await startSim([...content, ...life, ...(options.sim ?? [])], { from: 'dist' });
    const proxy = options.proxied === true ? await PostgresProxy.start(options.databaseUrl) : null;
    return new Rig(options, sim, proxy);
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

  /** For looking at the database; not through the proxy. */
  async client(): Promise<Client> {
    this.#client ??= await openClient(this.databaseUrl);
    return this.#client;
  }

  /** After the server went away under it. */
  async dropClient(): Promise<void> {
    const client = this.#client;
    this.#client = null;
    await client?.end().catch(() => {});
  }

  /** Variables of its daemons, and of commands beside them. */
  environment(): Record<string, string> {
    return {
      CONTINUUM_GRPC_URL: this.sim.address,
      DATABASE_URL: this.proxy?.url(this.databaseUrl) ?? this.databaseUrl,
      START_TICK: `${this.spec.first}`,
      ...this.#env,
    };
  }

  daemon(start: Partial<DaemonStart> = {}): Daemon {
    const daemon = startDaemon({ ...start, env: { ...this.environment(), ...start.env } });
    this.daemons.push(daemon);
    return daemon;
  }

  position = async (): Promise<bigint | null> => readPosition(await this.client());

  /** Waits until everything up to this tick is recorded; fails at once when the daemon ends. */
  async untilPosition(tick: bigint, daemon?: Daemon, deadlineMs = 120_000): Promise<void> {
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
      { deadlineMs, context: () => `position ${last}\n${this.daemons.at(-1)?.tail()}` },
    );
  }

  untilCaughtUp(daemon?: Daemon, deadlineMs?: number): Promise<void> {
    return this.untilPosition(this.last, daemon, deadlineMs);
  }

  async check(options: CheckOptions = {}): Promise<Snapshot> {
    return checkInvariants(await this.client(), options);
  }

  /** Row by row against the recomputed chain. */
  compare(options: CompareOptions = {}): Promise<Compared> {
    return compareStored(this.databaseUrl, expectedTicks(this.spec, this.count), options);
  }

  /** The end of nearly every test: equality, and the invariants with all hashes. */
  async verify(options: CompareOptions = {}): Promise<Compared> {
    // without statistics the planner of PostgreSQL 15 joins fresh hypertables by nested loops: minutes for seconds
    await (await this.client()).query('ANALYZE ticks, vdf_proofs, tick_transactions');
    const compared = await this.compare(options);
    await this.check({ hashes: true, atRest: true });
    return compared;
  }

  /** start_tick of every stream that was opened, in order. */
  starts(): bigint[] {
    return this.sim.log().flatMap((event) => (event.event === 'stream' ? [BigInt(event.start_tick!)] : []));
  }

  async close(): Promise<void> {
    for (const daemon of this.daemons) await daemon.end();
    await this.sim.stop();
    await this.proxy?.stop();
    await this.dropClient();
  }
}

/** Opens a rig, closes it whatever happens. */
export async function withRig<T>(options: RigOptions, work: (rig: Rig) => Promise<T>): Promise<T> {
  const rig = await Rig.open(options);
  try {
    return await work(rig);
  } finally {
    await rig.close();
  }
}
