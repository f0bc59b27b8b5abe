import { buildApi } from '../api/build.ts';
import { ChainOrders } from '../../store/chain/orders.ts';
import { MicroBatcher } from '../../stream/bars/micro-batcher.ts';
import { featureSet } from '../../core/feature/catalogue.ts';
import { InferenceConsumer } from '../../stream/inference/inference-consumer.ts';
import { SignalConsumer } from '../../stream/signals/signal-consumer.ts';
import type { SignalStageOptions } from '../../stream/signals/signal-stage.ts';
import { featureSettings } from '../config/streaming/feature-keys.ts';
import type { ProducerOptions } from '../../stream/producers/event-publisher.ts';
import { OrdersProducer } from '../../stream/producers/orders.ts';
import { SyntheticProducer } from '../../stream/producers/synthetic.ts';
import type { Stage } from '../../stream/stage.ts';
import { TickConsumer } from '../../stream/ticks/tick-consumer.ts';
import { TickFlusher } from '../../stream/webhook/tick-flusher.ts';
import { TickReplayer } from '../../serve/replay/tick-replayer.ts';
import { ReadPool } from '../../store/queries/read-pool.ts';
import { ConnectedStage, type Connections, type StageHost } from './connected-stage.ts';
import { buildEvaluator } from './evaluator.ts';
import { eventsTopic, signalsTopic } from './open-bus.ts';
import type { Role, StageSetup, SyntheticAmount } from './stage-setup.ts';

type StageBuilder = (setup: StageSetup, connections: Connections) => Stage | Promise<Stage>;

/** Every stage by its name. A new stage is one entry here and one function below. */
const BUILDERS: Readonly<Record<Role, StageBuilder>> = {
  orders: buildOrders,
  ticks: buildTicks,
  bars: buildBars,
  signals: buildSignals,
  inference: buildInference,
  flusher: buildFlusher,
  replay: buildReplay,
  api: buildApi,
  synthetic: buildSynthetic,
  ibkr: buildIbkr,
};

/** A stage with its own connections to bus and store, whichever thread or program it runs in. */
export function buildStage(setup: StageSetup, host: StageHost): Stage {
  return new ConnectedStage(setup, host, (connections) => BUILDERS[setup.stage](setup, connections));
}

function buildTicks(setup: StageSetup, { bus, store, busReport, env, meter }: Connections): Stage {
  const { streaming, consumer, group, batchSize } = setup;
  const config = streaming.tick_consumer;
  return new TickConsumer({
    bus,
    storeClient: store,
    topic: eventsTopic(streaming),
    consumerGroup: group ?? config.consumer_group,
    consumerName: consumer,
    batchSize: batchSize ?? config.batch_size,
    batchMax: config.batch_max,
    takeoverMs: config.takeover,
    providers: streaming.providers,
    backpressure: busReport.capacity,
    env,
    meter,
  });
}

function buildBars(setup: StageSetup, { bus, store, busReport, env, meter }: Connections): Stage {
  const { streaming, consumer, group, batchSize } = setup;
  const config = streaming.micro_batch;
  return new MicroBatcher({
    bus,
    storeClient: store,
    topic: eventsTopic(streaming),
    windowSeconds: config.window_ms / 1000,
    allowLateMs: config.allow_late_ms,
    maxBatchSize: batchSize ?? config.max_batch_size,
    flushTimeoutMs: config.flush_timeout_ms,
    late: config.late,
    reviseHorizonMs: config.revise_horizon,
    idleTimeoutMs: config.idle_timeout,
    consumerGroup: group ?? streaming.bus.redis.consumer_group,
    consumerName: consumer,
    tickGroup: streaming.tick_consumer.consumer_group,
    providers: streaming.providers,
    backpressure: busReport.capacity,
    env,
    meter,
  });
}

/** What the consumer of signals and the inference have in common. */
function signalOptions(
  { streaming, consumer }: StageSetup,
  { bus, store, busReport, env, meter }: Connections,
): Omit<SignalStageOptions, 'consumerGroup'> {
  return {
    bus,
    storeClient: store,
    topic: eventsTopic(streaming),
    signalsTopic: signalsTopic(streaming),
    primeMs: streaming.features.prime,
    consumerName: consumer,
    providers: streaming.providers,
    backpressure: busReport.capacity,
    env,
    meter,
  };
}

function buildSignals(setup: StageSetup, connections: Connections): Stage {
  const { streaming, group, batchSize } = setup;
  const config = streaming.signal_consumer;
  return new SignalConsumer({
    ...signalOptions(setup, connections),
    consumerGroup: group ?? config.consumer_group,
    batchSize: batchSize ?? config.batch_size,
    flushIntervalSeconds: config.flush_interval / 1000,
    allowLateMs: streaming.micro_batch.allow_late_ms,
    idleTimeoutMs: streaming.micro_batch.idle_timeout,
    features: featureSettings(streaming.features),
  });
}

async function buildInference(setup: StageSetup, connections: Connections): Promise<Stage> {
  const { streaming, group, batchSize } = setup;
  const { micro_batch: windows, inference } = streaming;
  const set = featureSet(featureSettings(streaming.features));
  return new InferenceConsumer({
    ...signalOptions(setup, connections),
    consumerGroup: group ?? inference.consumer_group,
    ...(batchSize === undefined ? {} : { batchSize }),
    windowSeconds: windows.window_ms / 1000,
    allowLateMs: windows.allow_late_ms,
    idleTimeoutMs: windows.idle_timeout,
    set,
    ...(await buildEvaluator(streaming, set, connections)),
  });
}

function buildFlusher(setup: StageSetup, { bus, store, busReport, env, meter }: Connections): Stage {
  const { streaming, consumer, group, batchSize } = setup;
  const config = streaming.webhook;
  return new TickFlusher({
    bus,
    storeClient: store,
    consumerGroup: group ?? config.consumer_group,
    consumerName: consumer,
    flushIntervalMs: config.flush_interval,
    batchSize: batchSize ?? config.batch_size,
    batchMax: config.batch_max,
    takeoverMs: config.takeover,
    forward: config.forward ? { topic: eventsTopic(streaming), encoding: streaming.bus.encoding } : null,
    providers: streaming.providers,
    backpressure: busReport.capacity,
    env,
    meter,
  });
}

/** A page of a replay may take long on a cold disk. */
const REPLAY_STATEMENT_MS = 60_000;

function buildReplay(setup: StageSetup, { bus, store, busReport, env, meter }: Connections): Stage {
  const { streaming, databaseUrl, readDatabaseUrl, serviceName, consumer, replayRun = null } = setup;
  const { runs_max: runsMax } = streaming.replay;
  return new TickReplayer({
    bus,
    backpressure: busReport.capacity,
    store: store.replay,
    reads: new ReadPool({
      databaseUrl: readDatabaseUrl ?? databaseUrl,
      applicationName: `${serviceName} replay`,
      statementMsMax: REPLAY_STATEMENT_MS,
      waitMsMax: REPLAY_STATEMENT_MS,
    }),
    topic: eventsTopic(streaming),
    encoding: streaming.bus.encoding,
    holder: consumer,
    runsMax,
    only: replayRun,
    retentionMs: streaming.bus.retention,
    env,
    meter,
  });
}

function buildOrders(setup: StageSetup, connections: Connections): Stage {
  const { streaming, databaseUrl, serviceName } = setup;
  return new OrdersProducer({
    ...producerOptions(setup, connections),
    chain: new ChainOrders({ dbUri: databaseUrl, applicationName: `${serviceName} orders` }),
    mints: new Map(Object.entries(streaming.producers.continuum.mints)),
  });
}

async function buildIbkr(setup: StageSetup, connections: Connections): Promise<Stage> {
  // loaded where it is used: no other program needs TWS's client
  const { IbkrProducer } = await import('../../stream/producers/ibkr/producer.ts');
  const config = setup.streaming.producers.ibkr;
  return new IbkrProducer({
    ...producerOptions(setup, connections),
    host: config.host,
    port: config.port,
    clientId: config.client_id,
    providerId: config.provider_id,
    symbols: config.symbols,
    contracts: config.contracts,
    tws: { staleMs: config.stale_after },
  });
}

const ENDLESS: SyntheticAmount = { count: null, rate: null, seed: null, startMicros: null };
/** cents */
const PRICE_STEP = { step: 1, decimals: 2 };

function buildSynthetic(setup: StageSetup, connections: Connections): Stage {
  const config = setup.streaming.producers.synthetic;
  const { count, rate, seed, startMicros } = setup.synthetic ?? ENDLESS;
  return new SyntheticProducer({
    ...producerOptions(setup, connections),
    generator: {
      seed: String(seed ?? config.seed),
      provider: config.provider,
      symbols: config.symbols,
      tickRate: config.tick_rate,
      priceVolatility: config.price_volatility,
      spreadBps: config.spread_bps,
      priceStep: PRICE_STEP,
    },
    rate,
    count,
    startMicros,
  });
}

function producerOptions(
  { streaming }: StageSetup,
  { bus, store, busReport, env, meter }: Connections,
): ProducerOptions {
  return {
    bus,
    topic: eventsTopic(streaming),
    backpressure: busReport.capacity,
    encoding: streaming.bus.encoding,
    providers: streaming.providers,
    jobRuns: store.jobRuns,
    env,
    meter,
  };
}
