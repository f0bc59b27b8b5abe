import { randomUUID } from 'node:crypto';
import { availableParallelism, hostname } from 'node:os';
import type { Client } from 'pg';
import { LIMITED_BACKOFF, type BackoffLimits } from '../core/retry.ts';
import { Ingester, type IngesterHost, type IngesterOptions } from '../ingest/ingester.ts';
import type { ReaderSetup } from '../ingest/reader/reader-thread.ts';
import type { planRing } from '../ingest/ring.ts';
import { connect, parseDatabaseUrl } from '../store/postgres/connect.ts';
import type { Config } from './config/load.ts';
import { loggingEnv, type Log } from './telemetry/log.ts';
import { ensureSchema, type Preflight } from './preflight.ts';
import { planThreads, type Sizing } from './sizing.ts';
import type { Telemetry } from './telemetry/ingest-telemetry.ts';

export interface IngesterSetup {
  config: Config;
  /** --ignore-watermark */
  ignorePosition: boolean;
  databaseUrl: string;
  found: Preflight;
  log: Log;
  telemetry: Telemetry;
}

const BACKOFF = { firstMs: 200, maxMs: 5_000 };
/** Without an answer to a batch for this long the connection is given up; a disk that stalls for less is waited for. */
const BATCH_ANSWER_MS = 30_000;
export const DRAIN_MS = 30_000;

/** How often the sequencer is asked for its head, ms. */
const HEAD_MS = 2_000;

/** How gaps are filled. Three "not there" answers over at least three seconds prove that a tick does not exist. */
const FILLING = {
  chunkTicks: 256,
  streamTicks: 1_000,
  chunkBytes: 4 * 1024 * 1024,
  calls: 16,
  longTicks: 1_000,
  turnTicks: 10_000,
  lingerMs: 10_000,
  missesMax: 3,
  missWaits: { firstMs: 2_000, maxMs: 30_000 },
  failureWaits: { firstMs: 1_000, maxMs: 60_000 },
};

/** Starts the stage `ingest`. Resolves with what ends the daemon, if ever. */
export function startIngester(setup: IngesterSetup): Promise<Error> {
  const { config, found, log, telemetry } = setup;
  const sizing = planThreads({
    cores: availableParallelism(),
    workerCount: config.workerCount,
    connectionsMax: config.dbMaxConnections,
    connectionsMin: config.dbMinConnections,
    limit: found.connectionLimit,
  });
  for (const warning of sizing.warnings) log.warn(warning);
  log.info({ parsers: sizing.parsers, writers: sizing.writers, why: sizing.why }, 'Threads');
  const fatal = Promise.withResolvers<Error>();
  const ingester = new Ingester(ingesterOptions(setup, sizing), ingesterHost(setup, fatal.resolve));
  telemetry.attach(ingester);
  ingester.start();
  return fatal.promise;
}

function ingesterOptions(
  { config, ignorePosition, databaseUrl, log, telemetry }: IngesterSetup,
  sizing: Sizing,
): IngesterOptions {
  return {
    env: loggingEnv(log),
    observer: telemetry,
    chainId: config.chainId,
    holder: `${config.serviceName}@${hostname()}:${process.pid}:${randomUUID().slice(0, 8)}`,
    startTick: config.startTick,
    ignorePosition,
    deadLetterMax: config.deadLetterMax,
    ring: ringLimits(config),
    reader: readerSetup(config, sizing.writers + sizing.parsers, BACKOFF),
    chainCheck: config.chainCheck,
    parsers: sizing.parsers,
    writers: Array.from({ length: sizing.writers }, (_, index) => ({
      index,
      databaseUrl,
      applicationName: `${config.serviceName} writer-${index}`,
      limits: {
        backoff: BACKOFF,
        answerMs: BATCH_ANSWER_MS,
        lifetimeMs: config.dbMaxConnLifetimeMs === 0 ? Infinity : config.dbMaxConnLifetimeMs,
        idleMs:
          index < sizing.keptConnections || config.dbMaxConnIdleMs === 0 ? null : config.dbMaxConnIdleMs,
        asynchronousCommit: !config.dbSynchronousCommit,
      },
    })),
    backoff: BACKOFF,
    drainMs: DRAIN_MS,
  };
}

function ingesterHost(
  { config, databaseUrl, log }: IngesterSetup,
  fatal: (error: Error) => void,
): IngesterHost {
  const options = parseDatabaseUrl(databaseUrl);
  return {
    connect: (purpose, onLost): Promise<Client> =>
      connect(options, { applicationName: `${config.serviceName} ${purpose}`, onLost }),
    checkSchema: (client) => ensureSchema(client, config, log),
    fatal,
  };
}

export function ringLimits(config: Config): Parameters<typeof planRing>[0] {
  return {
    bufferBytes: config.bufferBytes,
    bufferTicks: config.bufferTicks,
    tickBytesMax: config.tickMaxBytes,
    batchTicksMax: config.batchMaxTicks,
  };
}

/** inFlightMax: batches that may be past the reader at once. */
export function readerSetup(
  config: Config,
  inFlightMax: number,
  backoff: BackoffLimits,
): Omit<ReaderSetup, 'geometry' | 'memory'> {
  if (config.grpc === null) throw new Error('the stage ingest is on, so CONTINUUM_GRPC_URL was required');
  return {
    source: {
      target: config.grpc.address,
      tls: config.grpc.tls,
      messageBytesMax: config.grpcMaxMessageBytes,
    },
    reading: {
      batchTicks: config.batchTicks,
      batchTicksMax: config.batchMaxTicks,
      flushMs: config.flushIntervalMs,
      inFlightMax,
      reorderTicks: config.reorderWindowTicks,
      reorderMs: config.reorderWindowMs,
      reorderBytes: Math.ceil(config.bufferBytes / 8),
    },
    filling: {
      ...FILLING,
      flushMs: config.flushIntervalMs,
      stallMs: config.stallTimeoutMs,
      backoff,
      limited: LIMITED_BACKOFF,
    },
    streaming: { stallMs: config.stallTimeoutMs, backoff, limited: LIMITED_BACKOFF, headMs: HEAD_MS },
  };
}
