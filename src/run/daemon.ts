import { availableParallelism, hostname } from 'node:os';
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import { backoffMs } from '../core/retry.ts';
import { systemClock } from '../core/time.ts';
import { Ingester, type IngesterHost, type IngesterOptions } from '../ingest/ingester.ts';
import { connect, connectFailureKind, parseDatabaseUrl } from '../store/connect.ts';
import { deadline, destroy } from '../store/connection.ts';
import type { Config } from './config.ts';
import { describeConfig } from './config-doc.ts';
import { EmbeddedDatabase } from './embedded-database.ts';
import { startHealthServer } from './http.ts';
import type { Log } from './log.ts';
import { createNotifier } from './notify.ts';
import { ensureSchema, preflight, type Preflight } from './preflight.ts';
import { readerSetup, ringLimits } from './reader-options.ts';
import { planThreads, type Sizing } from './sizing.ts';
import { Telemetry } from './telemetry.ts';

export interface DaemonArguments {
  /** --ignore-watermark */
  ignorePosition: boolean;
}

/** A mistake that waiting does not mend: one line for the operator, exit code 1. */
export class StartError extends Error {}

const BACKOFF = { firstMs: 200, maxMs: 5_000 };
/** No answer to a whole batch for so long: the connection is given up. A disk that stalls for less is waited for. */
const BATCH_ANSWER_MS = 30_000;
/** A server that takes a connection and then says nothing is unreachable. */
const CONTACT_MS_MAX = 10_000;
const DRAIN_MS = 30_000;
/** What closing takes beyond the drain before the process ends anyhow. */
const CLOSE_MS = 5_000;

/**
 * The daemon, joined: configuration → telemetry → database → ingester, then signals. Resolves with the exit code.
 *
 *   gRPC ─► reader thread ─► ring ─► parser pool ─► writer threads ─► Postgres
 *              (src/ingest/ingester.ts joins these; the lease decides when they run)
 */
export async function runDaemon(
  config: Config,
  args: DaemonArguments,
  log: Log,
  signals: Signals,
): Promise<number> {
  for (const warning of config.warnings) log.warn(warning);
  log.info(describeConfig(config), 'Starting');
  const telemetry = new Telemetry(config, log);
  const server = await startHealthServer({
    port: config.healthCheckPort,
    probe: telemetry,
    onError: (err) => log.error({ err }, 'A health probe failed'),
  });
  log.info({ port: server.port }, 'Health, readiness and metrics are served');
  const notifier = createNotifier({
    ...config.notify,
    healthy: () => telemetry.health().failingThreads.length === 0,
    warn: (message) => log.warn(message),
  });
  // READY before the database is: an outage at boot is waited for, not a failed start of the unit
  notifier.ready();
  let embedded: EmbeddedDatabase | null = null;
  try {
    if (config.database?.kind === 'embedded')
      embedded = await EmbeddedDatabase.start(config.database.dataDir, log);
    const databaseUrl = embedded?.url ?? (config.database?.kind === 'server' ? config.database.url : '');
    const found = await firstContact(config, databaseUrl, log, telemetry, signals);
    if (found === null) return 0;
    const sizing = planThreads({
      cores: availableParallelism(),
      workerCount: config.workerCount,
      connectionsMax: config.dbMaxConnections,
      connectionsMin: config.dbMinConnections,
      serverConnections: found.serverConnections,
    });
    for (const warning of sizing.warnings) log.warn(warning);
    log.info({ parsers: sizing.parsers, writers: sizing.writers, why: sizing.why }, 'Threads');
    const fatal = new Promise<Error>((resolve) => {
      const host = ingesterHost(config, databaseUrl, log, telemetry, resolve);
      telemetry.attach(new Ingester(ingesterOptions(config, args, databaseUrl, sizing), host));
    });
    telemetry.ingester?.start();
    const ended = await Promise.race([signals.first, fatal]);
    if (ended instanceof Error) throw new StartError(ended.message);
    notifier.stopping();
    log.info({ signal: ended }, 'Shutting down: draining what was read');
    return await shutDown(telemetry, log);
  } finally {
    await notifier.close();
    await server.close();
    telemetry.close();
    await embedded?.stop();
  }
}

/** first: resolves with the name of the first signal. A second one ends the process at once (see the entry). */
export interface Signals {
  first: Promise<string>;
  /** its name once it came */
  seen: string | null;
}

async function shutDown(telemetry: Telemetry, log: Log): Promise<number> {
  const guard = delay(DRAIN_MS + CLOSE_MS, false, { ref: false });
  const drained = await Promise.race([telemetry.ingester?.stop() ?? true, guard]);
  if (!drained) {
    log.error({ limit_ms: DRAIN_MS }, 'Pipeline shutdown timed out');
    return 1;
  }
  log.info({ position: telemetry.ingester?.status.position ?? null }, 'Stopped');
  return 0;
}

/** Waits for the database. A wrong password or a missing database is no outage: it ends the start. */
async function firstContact(
  config: Config,
  databaseUrl: string,
  log: Log,
  telemetry: Telemetry,
  signals: Signals,
): Promise<Preflight | null> {
  for (let attempt = 0; signals.seen === null; attempt += 1) {
    try {
      const client = await connect(parseDatabaseUrl(databaseUrl), {
        applicationName: `${config.serviceName} start`,
      });
      try {
        const found = await deadline(preflight(client), CONTACT_MS_MAX);
        telemetry.edition(found.edition);
        log.info(found.edition, 'Connected to database');
        return found;
      } finally {
        await deadline(client.end(), CLOSE_MS).catch(() => destroy(client));
      }
    } catch (error) {
      if (connectFailureKind(error) !== 'unreachable') {
        throw new StartError(`Failed to connect to database: ${(error as Error).message}`);
      }
      const waitMs = backoffMs(attempt, BACKOFF, Math.random());
      log.warn({ err: error, retry_ms: waitMs }, 'Failed to connect to database');
      telemetry.retried('database');
      await Promise.race([delay(waitMs), signals.first]);
    }
  }
  return null;
}

function ingesterOptions(
  config: Config,
  args: DaemonArguments,
  databaseUrl: string,
  sizing: Sizing,
): IngesterOptions {
  return {
    chainId: config.chainId,
    holder: `${config.serviceName}@${hostname()}:${process.pid}:${randomUUID().slice(0, 8)}`,
    startTick: config.startTick,
    ignorePosition: args.ignorePosition,
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
  config: Config,
  databaseUrl: string,
  log: Log,
  telemetry: Telemetry,
  fatal: (error: Error) => void,
): IngesterHost {
  const options = parseDatabaseUrl(databaseUrl);
  return {
    connect: (purpose, onLost): Promise<Client> =>
      connect(options, { applicationName: `${config.serviceName} ${purpose}`, onLost }),
    checkSchema: async (client) => {
      const applied = await ensureSchema(client, config.stages, config.dbMigrate === 'auto');
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
