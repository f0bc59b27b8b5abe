import type { Env } from '../../core/env.ts';
import { BusError, type StreamBus } from '../../bus/bus.ts';
import { ServerClock } from '../../core/server-clock.ts';
import { storeVerdict } from '../../core/retry.ts';
import { PartitionsDifferError } from '../../store/bus/partitions.ts';
import { ConnectError } from '../../store/postgres/connect.ts';
import { sqlstateOf } from '../../store/postgres/sqlstate.ts';
import { isSchemaBehind, SchemaBehind } from '../../store/schema/behind.ts';
import { StoreClient } from '../../store/store-client.ts';
import { BUS_TROUBLE, databaseTrouble } from '../../stream/trouble.ts';
import type { Meter } from '../../stream/meter.ts';
import { retrying } from '../../stream/retry.ts';
import { StageLifecycle, type Stage } from '../../stream/stage.ts';
import { SCHEMA_STAGE, type StageSetup } from './stage-setup.ts';
import { BusReport } from './bus-report.ts';
import { eventsTopic, openBus } from './open-bus.ts';

export interface StageHost {
  env: Env;
  meter: Meter;
}

/** What a stage is built from. */
export interface Connections extends StageHost {
  bus: StreamBus;
  store: StoreClient;
  busReport: BusReport;
}

/** Between two looks at the database's clock, ms. */
const CLOCK_MS = 30_000;
const BACKOFF = { firstMs: 200, maxMs: 5_000 };

/**
 * A stage with its own connections to bus and store: waits for them, then builds and starts the stage; closes everything
 * at its end.
 */
export class ConnectedStage implements Stage {
  readonly #setup: StageSetup;
  readonly #host: StageHost;
  readonly #build: (connections: Connections) => Stage | Promise<Stage>;
  readonly #store: StoreClient;
  readonly #lifecycle: StageLifecycle;
  #bus: StreamBus | null = null;
  #busReport: BusReport | null = null;
  #asking: NodeJS.Timeout | null = null;

  constructor(
    setup: StageSetup,
    host: StageHost,
    build: (connections: Connections) => Stage | Promise<Stage>,
  ) {
    this.#setup = setup;
    this.#host = host;
    this.#build = build;
    this.#store = new StoreClient({
      dbUri: setup.databaseUrl,
      applicationName: `${setup.serviceName} ${setup.stage}`,
    });
    this.#lifecycle = new StageLifecycle(
      () => this.#run(),
      () => this.#close(),
    );
  }

  get done(): Promise<void> {
    return this.#lifecycle.done;
  }

  start(): Promise<void> {
    return this.#lifecycle.start();
  }

  stop(): Promise<void> {
    return this.#lifecycle.stop();
  }

  async #run(): Promise<void> {
    const { stopping } = this.#lifecycle;
    await this.#schema();
    const clock = await this.#databaseClock();
    if (stopping.aborted) return;
    const bus = await this.#openBus();
    this.#bus = bus;
    await this.#logDurability(bus);
    await this.#agreePartitions(bus);
    if (stopping.aborted) return;
    const { streaming, maintainsBus } = this.#setup;
    const busReport = new BusReport({ bus, streaming, maintainsBus, ...this.#host });
    this.#busReport = busReport;
    busReport.start();
    const env = { ...this.#host.env, clock };
    const stage = await this.#build({ bus, store: this.#store, busReport, ...this.#host, env });
    if (stopping.aborted) return;
    stopping.addEventListener('abort', () => void stage.stop());
    await stage.start();
    await stage.done;
  }

  async #close(): Promise<void> {
    if (this.#asking !== null) clearInterval(this.#asking);
    try {
      await this.#busReport?.stop();
      await this.#bus?.close();
    } finally {
      await this.#store.aclose();
    }
  }

  /** The database comes first: without its tables nothing works, whatever the bus is. */
  #schema(): Promise<void> {
    const { schema, stage } = this.#setup;
    return this.#untilAnswered(
      'database',
      async () => {
        const behind = await this.#store.schemaBehind(SCHEMA_STAGE[stage]);
        if (behind.length === 0) return;
        if (schema !== 'apply') throw new SchemaBehind(behind);
        for (const file of await this.#store.migrate())
          this.#host.env.log('info', 'Applied schema file', { file });
      },
      (error) => this.#mayAnswerLater(error),
    );
  }

  /**
   * What the stage takes for now: the times it gives to events are compared with those of others, and this machine's clock
   * may be wrong. The bus keeps its own: it counts ages.
   */
  async #databaseClock(): Promise<ServerClock> {
    const { env } = this.#host;
    const clock = new ServerClock(env.clock);
    const ask = async (): Promise<void> => {
      const askedMs = clock.monotonicMs();
      clock.tell(await this.#store.serverMicros(), askedMs, env.log);
    };
    await this.#untilAnswered('database', ask, (error) => this.#mayAnswerLater(error));
    // while the database is away it runs on
    this.#asking = setInterval(() => void ask().catch(() => {}), CLOCK_MS);
    return clock;
  }

  /** An operator's mistake, such as a wrong password, ends it; a schema that is behind by what the setup says. */
  #mayAnswerLater(error: unknown): boolean {
    if (error instanceof ConnectError) return error.kind === 'unreachable';
    if (isSchemaBehind(error)) return this.#setup.schema === 'wait' || this.#setup.schema === 'soon';
    return storeVerdict(sqlstateOf(error)) === 'retry';
  }

  #openBus(): Promise<StreamBus> {
    const { streaming, databaseUrl, serviceName, stage } = this.#setup;
    const { env } = this.#host;
    const clientName = `${serviceName}:${stage}`;
    const { busCheckpoints: checkpoints, busLogEnds: ends } = this.#store;
    const parts = { databaseUrl, clientName, checkpoints, ends, env };
    return this.#untilAnswered('bus', () => openBus(streaming, parts), isPassing);
  }

  /** Logs at start what a power loss may cost. */
  async #logDurability(bus: StreamBus): Promise<void> {
    try {
      const { lossFree, why } = await bus.durability();
      this.#host.env.log(lossFree ? 'info' : 'warn', `Bus ${bus.kind}: ${why}`, { loss_free: lossFree });
    } catch (err) {
      this.#host.env.log('warn', 'The bus does not tell what a crash may cost', { err });
    }
  }

  /** Producers too: with another partition count they would split a symbol over two partitions. */
  #agreePartitions(bus: StreamBus): Promise<void> {
    const topic = eventsTopic(this.#setup.streaming);
    return this.#untilAnswered(
      'database',
      () => this.#store.agreePartitions(topic, bus.partitions(topic)),
      (error) => !(error instanceof PartitionsDifferError) && this.#mayAnswerLater(error),
    );
  }

  #untilAnswered<T>(
    server: 'bus' | 'database',
    call: () => Promise<T>,
    mayPass: (error: unknown) => boolean,
  ): Promise<T> {
    return retrying(call, {
      mayPass,
      backoff: BACKOFF,
      random: this.#host.env.random,
      signal: this.#lifecycle.stopping,
      onRetry: (err, waitMs) => {
        const { stage, schema } = this.#setup;
        const isSoon = schema === 'soon' && isSchemaBehind(err);
        const { level, message } = server === 'database' ? databaseTrouble(err) : BUS_TROUBLE;
        if (isSoon) this.#host.env.log('info', 'The stage waits until the schema is applied', { stage });
        else this.#host.env.log(level, message, { stage, err, retry_ms: waitMs });
      },
    });
  }
}

/** A misconfigured bus stays misconfigured. */
function isPassing(error: unknown): boolean {
  return error instanceof BusError && error.kind !== 'setup';
}
