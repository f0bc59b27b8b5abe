import type { BusStage } from '../config/stages.ts';
import type { ApiSettings } from '../api/settings.ts';
import type { StreamingConfig } from '../config/streaming/load.ts';

/** What runs on the bus: stages of the daemon, and producers that are programs of their own. */
export type Role = BusStage | 'synthetic' | 'ibkr';

/**
 * What a stage does at its start about a schema that is behind: fail; apply it; wait until somebody applies it; or wait
 * for this daemon's own stage `ingest`, which is about to apply it.
 */
export type SchemaPolicy = 'fail' | 'apply' | 'wait' | 'soon';

/** By the lines `-- stages:` of schema/. */
export const SCHEMA_STAGE: Readonly<Record<Role, BusStage>> = {
  orders: 'orders',
  ticks: 'ticks',
  bars: 'bars',
  signals: 'signals',
  inference: 'inference',
  flusher: 'api',
  replay: 'api',
  api: 'api',
  synthetic: 'orders',
  ibkr: 'orders',
};

/** How much the producer of synthetic ticks publishes. */
export interface SyntheticAmount {
  /** total events; null: no limit */
  count: number | null;
  /** events per second over all symbols; 0: as fast as the bus takes them; null: tick_rate for each symbol */
  rate: number | null;
  /** null: from the configuration */
  seed: number | null;
  /** time of the first event, µs; null: now */
  startMicros: bigint | null;
}

/** What a stage is made from: plain values only, so that they can be sent to a thread. */
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
  schema: SchemaPolicy;
  /** trims the bus and watches how full it is: one stage per process does */
  maintainsBus: boolean;
  synthetic?: SyntheticAmount;
  /** of the stage api */
  api?: ApiSettings;
  /** where ticks are read for replays; null: in the database itself */
  readDatabaseUrl?: string | null;
  /** of replays: this run alone, and then it ends */
  replayRun?: bigint;
}
