import { randomUUID } from 'node:crypto';
import { availableParallelism, hostname } from 'node:os';
import type { Client } from 'pg';
import { systemClock } from '../core/time.ts';
import { Ingester, type IngesterHost, type IngesterOptions } from '../ingest/ingester.ts';
import { connect, parseDatabaseUrl } from '../store/postgres/connect.ts';
import type { Config } from './config/load.ts';
import type { Log } from './telemetry/log.ts';
import { ensureSchema, type Preflight } from './preflight.ts';
import { readerSetup, ringLimits } from './reader-options.ts';
import { schemaStages } from './retention.ts';
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
/** No answer to a whole batch for so long: the connection is given up. A disk that stalls for less is waited for. */
const BATCH_ANSWER_MS = 30_000;
export const DRAIN_MS = 30_000;

/** Starts the stage `ingest`. Resolves with what ends the daemon, if ever. */
export function startIngester(setup: IngesterSetup): Promise<Error> {
  const { config, found, log, telemetry } = setup;
  const sizing = planThreads({
    cores: availableParallelism(),
    workerCount: config.workerCount,
    connectionsMax: config.dbMaxConnections,
    connectionsMin: config.dbMinConnections,
    serverConnections: found.serverConnections,
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
  { config, ignorePosition, databaseUrl }: IngesterSetup,
  sizing: Sizing,
): IngesterOptions {
  return {
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
  { config, databaseUrl, log, telemetry }: IngesterSetup,
  fatal: (error: Error) => void,
): IngesterHost {
  const options = parseDatabaseUrl(databaseUrl);
  return {
    connect: (purpose, onLost): Promise<Client> =>
      connect(options, { applicationName: `${config.serviceName} ${purpose}`, onLost }),
    checkSchema: async (client) => {
      const applied = await ensureSchema(client, schemaStages(config), config.dbMigrate === 'auto');
      for (const file of applied) log.info({ file }, 'Applied schema file');
    },
    nowMicros: () => systemClock.nowMicros(),
    nowMs: () => systemClock.monotonicMs(),
    random: Math.random,
    log: (level, message, fields) => log[level](fields, message),
    committed: (batch) => telemetry.committed(batch),
    threadStats: (thread, stats) => telemetry.threadStats(thread, stats),
    readerStats: (stats) => telemetry.readerStats(stats),
    writerStats: (index, stats) => telemetry.writerStats(index, stats),
    trouble: (trouble) => telemetry.trouble(trouble),
    audited: (result) => telemetry.audited(result),
    fatal,
  };
}
