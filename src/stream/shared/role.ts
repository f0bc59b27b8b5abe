import type { Delivery, StreamBus } from '../../bus/bus.ts';
import type { Backpressure } from '../../core/bus/capacity.ts';
import type { Env } from '../../core/env.ts';
import type { RefusedRecord } from '../../core/market/dead-letter.ts';
import type { JobName } from '../../store/job-runs.ts';
import type { StoreClient } from '../../store/store-client.ts';
import type { JobRun } from '../job-run.ts';
import type { Meter } from '../meter.ts';
import type { ServerCalls } from '../server-calls.ts';
import type { BatchContext, SortedBatch } from './batch.ts';
import type { SinkResult, TickStore } from './sink.ts';

/** What a program may say of a consumer. */
export interface SharedConsumerOptions {
  bus: StreamBus;
  storeClient: StoreClient;
  /** ticks of one transaction while the consumer keeps up; it grows to batchMax when it is behind */
  batchSize?: number;
  batchMax?: number;
  consumerGroup?: string;
  /** unique among the members of the group */
  consumerName?: string;
  topic?: string;
  /** entries of a silent member are taken over after this, ms (default 30 s) */
  takeoverMs?: number;
  /** is told when the bus refuses a record for want of room */
  backpressure?: Backpressure;
  meter?: Meter;
  /** default: no log, the machine's clock */
  env?: Partial<Env>;
}

/** The identity of a role, and its defaults. */
export interface ConsumerRole {
  /** prefix of log lines */
  name: string;
  /** that owns the group: any other is refused */
  role: string;
  stage: string;
  jobName: JobName;
  batchSize: number;
  batchMax: number;
  consumerGroup: string;
  consumerName: string;
  topic: string;
  /** how long a batch that is not full waits for more, ms; 0: not at all */
  gatherMs: number;
}

/** The result of one batch. */
export interface BatchResult<T, B> extends SinkResult<T> {
  batch: B;
  deadLetters: readonly RefusedRecord[];
  durationMs: number;
}

/** What a role does with the records that it is given. */
export interface ConsumerWork<T, B extends SortedBatch<T>> {
  store: TickStore<T>;
  sort(deliveries: readonly Delivery[], context: BatchContext): B;
  /** of records that are dead letters */
  batchOf(refused: RefusedRecord[]): B;
  /** between the commit and the acknowledgement; repeats what may pass, until `signal` aborts */
  committed?(batch: B, result: SinkResult<T>, signal: AbortSignal): Promise<void>;
  wrote(result: BatchResult<T, B>): void;
  /** every second or so */
  beat(): void;
}

/** What a role's work may use. */
export interface ConsumerParts {
  env: Env;
  meter: Meter;
  run: JobRun;
  calls: ServerCalls;
}

/** What runs beside the consumer from its start to its end. */
export interface Beside {
  start(calls: ServerCalls, stopping: AbortSignal): Promise<void>;
  /** that ends the consumer; null: there is none */
  readonly failure: Error | null;
  close(): Promise<void>;
}
