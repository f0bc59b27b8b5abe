import type { LogLine } from '../../core/env.ts';
import { BusError, type StreamBus } from '../../bus/bus.ts';
import { PartitionsDifferError } from '../../store/bus/partitions.ts';
import { ChainOrders } from '../../store/chain/orders.ts';
import { StoreClient } from '../../store/store-client.ts';
import type { Meter } from '../../stream/meter.ts';
import { IbkrProducer } from '../../stream/producers/ibkr/producer.ts';
import { OrdersProducer } from '../../stream/producers/orders.ts';
import { SyntheticProducer, type SyntheticProducerOptions } from '../../stream/producers/synthetic.ts';
import { retrying } from '../../stream/retry.ts';
import type { Stage } from '../../stream/stage.ts';
import { MicroBatcher } from '../../stream/bars/micro-batcher.ts';
import { TickConsumer } from '../../stream/ticks/tick-consumer.ts';
import { BusHouse } from './bus-report.ts';
import type { BusStage } from '../config/stages.ts';
import { eventsTopic, openBus } from './open-bus.ts';
import type { StreamingConfig } from '../config/streaming.ts';

/** What runs on the bus: stages of the daemon, and producers that are programs of their own. */
export type Role = BusStage | 'synthetic' | 'ibkr';

/** How much a producer of made-up ticks makes. */
export interface SyntheticAmount {
  /** events in all; null: without end */
  count: number | null;
  /** events a second over all symbols; 0: as fast as the bus takes them; null: tick_rate for each symbol */
  rate: number | null;
  /** null: of the configuration */
  seed: number | null;
  /** time of the first event, µs; null: now */
  startMicros: bigint | null;
}

/** What a stage is made of: values alone, so that they can go to a thread. */
export interface StageSetup {
  stage: Role;
  streaming: StreamingConfig;
  databaseUrl: string;
  serviceName: string;
  /** its name in its group */
  consumer: string;
  /** other than the configuration's */
  group?: string;
  batchSize?: number;
  /** trims the bus and watches how full it is: one of the stages of a process does */
  keepsHouse: boolean;
  synthetic?: SyntheticAmount;
}

export interface StageHost {
  log: LogLine;
  meter: Meter;
}

const BACKOFF = { firstMs: 200, maxMs: 5_000 };

/** A stage with its own connections to bus and store, whichever thread or program it runs in. */
export function buildStage(setup: StageSetup, host: StageHost): Stage {
  return new ConnectedStage(setup, host);
}

class ConnectedStage implements Stage {
  readonly #setup: StageSetup;
  readonly #host: StageHost;
  readonly #store: StoreClient;
  readonly #stopping = new AbortController();
  readonly #done = Promise.withResolvers<void>();
  #work: Promise<void> | null = null;
  #stage: Stage | null = null;

  constructor(setup: StageSetup, host: StageHost) {
    this.#setup = setup;
    this.#host = host;
    this.#store = new StoreClient({
      dbUri: setup.databaseUrl,
      applicationName: `${setup.serviceName} ${setup.stage}`,
    });
    this.#done.promise.catch(() => {});
  }

  get done(): Promise<void> {
    return this.#done.promise;
  }

  start(): Promise<void> {
    this.#work ??= this.#run().then(
      () => this.#done.resolve(),
      (error: unknown) => {
        if (this.#stopping.signal.aborted) this.#done.resolve();
        else this.#done.reject(error);
      },
    );
    return Promise.resolve();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    if (this.#work === null) this.#done.resolve();
    await this.#stage?.stop();
    await this.#work;
  }

  async #run(): Promise<void> {
    let bus: StreamBus | null = null;
    let house: BusHouse | null = null;
    try {
      bus = await this.#open();
      await this.#sayDurability(bus);
      await this.#agreePartitions(bus);
      // no await between here and #stage: a stop() before it is seen here, one after it finds the stage
      if (this.#stopping.signal.aborted) return;
      const { streaming, keepsHouse } = this.#setup;
      house = new BusHouse({ bus, streaming, keepsHouse, ...this.#host });
      house.start();
      const stage = this.#make(bus, house);
      this.#stage = stage;
      await stage.start();
      await stage.done;
    } finally {
      await house?.stop();
      await bus?.close();
      await this.#store.aclose();
    }
  }

  /** What a power loss may cost is said at start, not assumed. */
  async #sayDurability(bus: StreamBus): Promise<void> {
    try {
      const { lossFree, why } = await bus.durability();
      this.#host.log(lossFree ? 'info' : 'warn', `Bus ${bus.kind}: ${why}`, { loss_free: lossFree });
    } catch (err) {
      this.#host.log('warn', 'The bus does not tell what a crash may cost', { err });
    }
  }

  /** Producers too: what they put into a partition that nobody else has would split a symbol. */
  #agreePartitions(bus: StreamBus): Promise<void> {
    const topic = eventsTopic(this.#setup.streaming);
    return retrying(() => this.#store.agreePartitions(topic, bus.partitions(topic)), {
      mayPass: (error) => !(error instanceof PartitionsDifferError),
      backoff: BACKOFF,
      random: Math.random,
      signal: this.#stopping.signal,
      onRetry: (err, waitMs) =>
        this.#host.log('warn', 'The database does not answer (will try again)', {
          stage: this.#setup.stage,
          err,
          retry_ms: waitMs,
        }),
    });
  }

  #open(): Promise<StreamBus> {
    const { streaming, databaseUrl, serviceName, stage } = this.#setup;
    const { log } = this.#host;
    return retrying(
      () =>
        openBus(streaming, {
          databaseUrl,
          clientName: `${serviceName}:${stage}`,
          marks: this.#store.busMarks,
          log,
        }),
      {
        mayPass: (error) => error instanceof BusError && error.kind !== 'setup',
        backoff: BACKOFF,
        random: Math.random,
        signal: this.#stopping.signal,
        onRetry: (err, waitMs) =>
          log('warn', 'The bus does not answer (will try again)', { stage, err, retry_ms: waitMs }),
      },
    );
  }

  #make(bus: StreamBus, house: BusHouse): Stage {
    const { stage, streaming, databaseUrl, serviceName, consumer, group, batchSize } = this.#setup;
    const { tick_consumer: ticks, micro_batch: bars, producers } = streaming;
    const topic = eventsTopic(streaming);
    const producer = {
      bus,
      topic,
      room: house.gate,
      encoding: streaming.bus.encoding,
      jobRuns: this.#store.jobRuns,
      ...this.#host,
    };
    switch (stage) {
      case 'ticks':
        return new TickConsumer({
          bus,
          storeClient: this.#store,
          topic,
          consumerGroup: group ?? ticks.consumer_group,
          consumerName: consumer,
          batchSize: batchSize ?? ticks.batch_size,
          batchMax: ticks.batch_max,
          takeoverMs: ticks.takeover,
          ...this.#host,
        });
      case 'bars':
        return new MicroBatcher({
          bus,
          storeClient: this.#store,
          topic,
          windowSeconds: bars.window_ms / 1000,
          allowLateMs: bars.allow_late_ms,
          maxBatchSize: batchSize ?? bars.max_batch_size,
          flushTimeoutMs: bars.flush_timeout_ms,
          late: bars.late,
          reviseHorizonMs: bars.revise_horizon,
          idleTimeoutMs: bars.idle_timeout,
          consumerGroup: group ?? streaming.bus.redis.consumer_group,
          consumerName: consumer,
          tickGroup: ticks.consumer_group,
          ...this.#host,
        });
      case 'orders':
        return new OrdersProducer({
          ...producer,
          chain: new ChainOrders({ dbUri: databaseUrl, applicationName: `${serviceName} orders` }),
          mints: new Map(Object.entries(producers.continuum.mints)),
        });
      case 'ibkr':
        return new IbkrProducer({
          ...producer,
          host: producers.ibkr.host,
          port: producers.ibkr.port,
          clientId: producers.ibkr.client_id,
          providerId: producers.ibkr.provider_id,
          symbols: producers.ibkr.symbols,
        });
      case 'synthetic':
        return new SyntheticProducer({
          ...producer,
          ...syntheticOptions(producers.synthetic, this.#setup.synthetic ?? ENDLESS),
        });
    }
  }
}

const ENDLESS: SyntheticAmount = { count: null, rate: null, seed: null, startMicros: null };
/** cents */
const PRICE_STEP = { step: 1, decimals: 2 };

function syntheticOptions(
  config: StreamingConfig['producers']['synthetic'],
  amount: SyntheticAmount,
): Pick<SyntheticProducerOptions, 'generator' | 'rate' | 'count' | 'startMicros'> {
  return {
    generator: {
      seed: String(amount.seed ?? config.seed),
      provider: config.provider,
      symbols: config.symbols,
      tickRate: config.tick_rate,
      priceVolatility: config.price_volatility,
      spreadBps: config.spread_bps,
      priceStep: PRICE_STEP,
    },
    rate: amount.rate,
    count: amount.count,
    startMicros: amount.startMicros,
  };
}
