import { envOf, type LogLine } from '../core/env.ts';
/** What the package exports: parts for building your own programs. */
import type { StreamBus } from '../bus/bus.ts';
import type { ProviderDeclarations } from '../core/market/identity/providers.ts';
import { completeDatabaseUrl } from '../store/postgres/conninfo/environment.ts';
import { StoreClient as Store, type StoreClientOptions } from '../store/store-client.ts';
import { databaseUrlOf } from './config/addresses.ts';
import { readSetting, variables } from './config/load.ts';
import { openBus } from './stages/open-bus.ts';
import { readStreamingConfig } from './config/streaming/load.ts';

export type { Delivery, GroupMember, OutgoingRecord, StreamBus } from '../bus/bus.ts';
export { BusError } from '../bus/bus.ts';
export { MicroBatcher, type MicroBatcherOptions } from '../stream/bars/micro-batcher.ts';
export { JobRunTracker } from '../store/job-runs.ts';
export type { ProviderDeclaration, ProviderDeclarations } from '../core/market/identity/providers.ts';
export { InferenceConsumer, type InferenceConsumerOptions } from '../stream/inference/inference-consumer.ts';
export { SignalConsumer, type SignalConsumerOptions } from '../stream/signals/signal-consumer.ts';
export { SignalsStoreClient, type SignalsStoreClientOptions } from '../store/signals/signals-store-client.ts';
export type { SignalQuery, StoredSignal, UpsertSignal } from '../store/signals/upsert.ts';
export type { UpsertTick } from '../store/market/upsert-tick.ts';
export type { StoreClientOptions } from '../store/store-client.ts';
export { TickConsumer, type TickConsumerOptions } from '../stream/ticks/tick-consumer.ts';

/**
 * What the configuration declares of providers, for TickConsumer, MicroBatcher and StoreClient.
 *
 * @param config the file; default STREAMING_CONFIG, or configs/streaming.yaml
 * @throws YamlError when it is wrong
 */
export function readProviders(config?: string): ProviderDeclarations {
  return readStreamingConfig(config).providers;
}

/** The store, on the database that `dbUri` and the variables of libpq name. @throws DatabaseUrlError */
export class StoreClient extends Store {
  constructor(options: StoreClientOptions) {
    super({ ...options, dbUri: completeDatabaseUrl(options.dbUri, variables()) });
  }
}

export interface StreamBusSettings {
  /** the configuration; default STREAMING_CONFIG, or configs/streaming.yaml */
  config?: string;
  /** default DATABASE_URL: holds the groups' checkpoints, whatever the bus */
  databaseUrl?: string;
  log?: LogLine;
}

/**
 * The bus that the configuration names. Rejects with BusError; with ConfigError or YamlError when the configuration is
 * wrong.
 */
export async function createStreamBus(settings: StreamBusSettings = {}): Promise<StreamBus> {
  const databaseUrl =
    settings.databaseUrl === undefined
      ? databaseUrlOf(readSetting('database'))
      : completeDatabaseUrl(settings.databaseUrl, variables());
  if (databaseUrl === undefined)
    throw new TypeError('createStreamBus: no databaseUrl, and DATABASE_URL is not set');
  const store = new Store({ dbUri: databaseUrl, applicationName: 'stream-bus' });
  const bus = await openBus(readStreamingConfig(settings.config), {
    databaseUrl,
    clientName: 'stream-bus',
    checkpoints: store.busCheckpoints,
    ends: store.busLogEnds,
    env: envOf(settings.log === undefined ? {} : { log: settings.log }),
  });
  const close = bus.close.bind(bus);
  bus.close = async () => {
    await close();
    await store.aclose();
  };
  return bus;
}
