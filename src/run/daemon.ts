import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import { backoffMs } from '../core/retry.ts';
import { systemClock } from '../core/time.ts';
import { SchemaBehind } from '../ingest/leader/leadership.ts';
import { connect, connectFailureKind, parseDatabaseUrl } from '../store/postgres/connect.ts';
import { answerWithin, destroy } from '../store/postgres/session.ts';
import { BusStages } from './stages/stages.ts';
import type { Config } from './config/load.ts';
import { describeConfig } from './config/describe.ts';
import { EmbeddedDatabase } from './embedded-database.ts';
import { startHealthServer } from './telemetry/http.ts';
import type { Log } from './telemetry/log.ts';
import { DRAIN_MS, startIngester } from './ingest-setup.ts';
import { createNotifier } from './telemetry/systemd.ts';
import { ensureSchema, preflight, type Preflight } from './preflight.ts';
import { Retention, RETENTION_EVERY_MS, schemaStages, type RetentionRules } from './retention.ts';
import { busStages } from './config/stages.ts';
import type { StreamingConfig } from './config/streaming.ts';
import type { Signals } from './signals.ts';
import { Telemetry } from './telemetry/ingest-telemetry.ts';

export interface DaemonArguments {
  /** --ignore-watermark */
  ignorePosition: boolean;
  /** null: nothing is to be dropped */
  retention: RetentionRules | null;
}

/** A mistake that waiting does not mend: one line for the operator, exit code 1. */
export class StartError extends Error {}

const BACKOFF = { firstMs: 200, maxMs: 5_000 };
/** A server that takes a connection and then says nothing is unreachable. */
const CONTACT_MS_MAX = 10_000;
/** Finding the first tick to keep of a chain that was never cut walks along all that is old. */
const RETENTION_STATEMENT_MS = 600_000;
/** What closing takes beyond the drain before the process ends anyhow. */
const CLOSE_MS = 5_000;

/**
 * The daemon, joined: configuration → telemetry → database → ingester and stages, then signals. Resolves with the exit
 * code.
 *
 *   gRPC ─► reader thread ─► ring ─► parser pool ─► writer threads ─► Postgres
 *              (src/ingest/ingester.ts joins these; the lease decides when they run)
 *   Postgres ─► orders ─► bus ─► ticks ─► Postgres
 *              (src/run/stages/stages.ts: a thread each)
 *
 * @param streaming null when no stage works on the bus
 */
export async function runDaemon(
  config: Config,
  streaming: StreamingConfig | null,
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
  let stages: BusStages | null = null;
  let retention: Retention | null = null;
  try {
    if (config.database?.kind === 'embedded')
      embedded = await EmbeddedDatabase.start(config.database.dataDir, log);
    const databaseUrl = embedded?.url ?? (config.database?.kind === 'server' ? config.database.url : '');
    const found = await firstContact(config, databaseUrl, log, telemetry, signals);
    if (found === null) return 0;
    const fatal = config.stages.includes('ingest')
      ? startIngester({ config, ignorePosition: args.ignorePosition, databaseUrl, found, log, telemetry })
      : NEVER;
    stages = startStages(config, streaming, databaseUrl, log, telemetry);
    await stages?.start();
    retention = startRetention(config, args.retention, databaseUrl, log, telemetry);
    const ended = await Promise.race([signals.first, fatal]);
    if (ended instanceof Error) throw new StartError(ended.message);
    notifier.stopping();
    log.info({ signal: ended }, 'Shutting down: draining what was read');
    const stopped = await Promise.all([shutDown(telemetry, log), stages?.stop()]);
    return stopped[0];
  } finally {
    await retention?.stop();
    await notifier.close();
    await server.close();
    telemetry.close();
    await embedded?.stop();
  }
}

const NEVER = new Promise<never>(() => {});

function startStages(
  config: Config,
  streaming: StreamingConfig | null,
  databaseUrl: string,
  log: Log,
  telemetry: Telemetry,
): BusStages | null {
  if (streaming === null) return null;
  const stages = new BusStages({
    stages: busStages(config.stages),
    streaming,
    databaseUrl,
    serviceName: config.serviceName,
    metricsPort: config.metricsPort ?? streaming.telemetry.metrics_port,
    log,
  });
  telemetry.failingStages = stages.failing;
  return stages;
}

function startRetention(
  config: Config,
  rules: RetentionRules | null,
  databaseUrl: string,
  log: Log,
  telemetry: Telemetry,
): Retention | null {
  if (rules === null) return null;
  const options = parseDatabaseUrl(databaseUrl);
  const retention = new Retention({
    ...rules,
    connect: () =>
      connect(options, {
        applicationName: `${config.serviceName} retention`,
        statementTimeoutMs: RETENTION_STATEMENT_MS,
      }),
    clock: systemClock,
    intervalMs: RETENTION_EVERY_MS,
    log,
    failed: () => telemetry.retried('retention'),
  });
  retention.start();
  return retention;
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
        const found = await answerWithin(preflight(client), CONTACT_MS_MAX);
        telemetry.edition(found.edition);
        log.info(found.edition, 'Connected to database');
        if (!config.stages.includes('ingest')) await readySchema(client, config, log, telemetry);
        return found;
      } finally {
        await answerWithin(client.end(), CLOSE_MS).catch(() => destroy(client));
      }
    } catch (error) {
      if (error instanceof SchemaBehind) {
        telemetry.withoutIngest(['schema']);
        log.error(error.message);
        await Promise.race([delay(BACKOFF.maxMs), signals.first]);
        continue;
      }
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

/** With the stage ingest its leader does this, under the lease. */
async function readySchema(client: Client, config: Config, log: Log, telemetry: Telemetry): Promise<void> {
  const applied = await ensureSchema(client, schemaStages(config), config.dbMigrate === 'auto');
  for (const file of applied) log.info({ file }, 'Applied schema file');
  telemetry.withoutIngest([]);
}
