import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import type { ApiSettings } from './api/settings.ts';
import type { Config } from './config/load.ts';
import { describeConfig } from './config/describe.ts';
import { busStages } from './config/stages.ts';
import type { StreamingConfig } from './config/streaming/load.ts';
import { openDatabase, type Database } from './embedded-database.ts';
import { EXIT_FAILED } from './exit-codes.ts';
import { DRAIN_MS, startIngester } from './ingest-setup.ts';
import { firstContact, StartError, type Preflight } from './preflight.ts';
import { startCompression, type CompressionRules } from './upkeep/compression.ts';
import { startRetention, type RetentionRules } from './upkeep/retention.ts';
import type { Signals } from './signals.ts';
import { claimMemberName } from './stages/member-name.ts';
import { BusStages } from './stages/stages.ts';
import { startHealthServer } from './telemetry/http.ts';
import { Telemetry } from './telemetry/ingest-telemetry.ts';
import { loggingEnv, type Log } from './telemetry/log.ts';
import { createNotifier } from './telemetry/systemd.ts';

export interface DaemonSetup {
  config: Config;
  /** null when no stage works on the bus */
  streaming: StreamingConfig | null;
  /** null: the stage api is off */
  api: ApiSettings | null;
  /** --ignore-watermark */
  ignorePosition: boolean;
  /** null: nothing is dropped */
  retention: RetentionRules | null;
  /** null: nothing is compressed */
  compression: CompressionRules | null;
  log: Log;
  signals: Signals;
}

/** Time allowed for closing, after the drain, before the process ends anyway. */
const CLOSE_MS = 5_000;

/**
 * The whole daemon, in five phases: probes, database, work, a signal, drain. Resolves with the exit code.
 *
 *   gRPC ─► reader thread ─► ring ─► parser pool ─► writer threads ─► Postgres
 *              (src/ingest/ingester.ts joins these; the lease decides when they run)
 *   Postgres ─► orders ─► bus ─► ticks ─► Postgres
 *                             └► bars  ─► Postgres
 *              (src/run/stages/stages.ts: a thread each)
 *
 * @throws StartError, PortError: mistakes of the operator
 */
export async function runDaemon(setup: DaemonSetup): Promise<number> {
  const { config, log, signals } = setup;
  for (const warning of config.warnings) log.warn(warning);
  log.info(describeConfig(config), 'Starting');
  const telemetry = new Telemetry(config, log);
  const probes = await startProbes(config, log, telemetry);
  let database: Database | null = null;
  let work: Work | null = null;
  try {
    database = await openDatabase(config, log);
    const found = await firstContact(config, database.url, { log, telemetry, signals });
    if (found === null) return 0;
    work = await startWork(setup, database.url, found, telemetry);
    const ended = await Promise.race([signals.first, work.failed]);
    if (ended instanceof Error) throw new StartError(ended.message);
    probes.stopping();
    log.info({ signal: ended }, 'Shutting down: draining what was read');
    const [exitCode] = await Promise.all([drain(telemetry, log), work.stages?.stop()]);
    return exitCode;
  } finally {
    await Promise.all(work?.upkeep.map((rounds) => rounds.stop()) ?? []);
    await probes.close();
    telemetry.close();
    await database?.stop();
  }
}

interface Probes {
  /** tells systemd that the drain begins */
  stopping(): void;
  close(): Promise<void>;
}

/** /health, /ready, /metrics and systemd. All of it answers before the database does, and during its outages. */
async function startProbes(config: Config, log: Log, telemetry: Telemetry): Promise<Probes> {
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
  return {
    stopping: () => notifier.stopping(),
    close: async () => {
      await notifier.close();
      await server.close();
    },
  };
}

interface Work {
  /** resolves with what ends the daemon, if ever */
  failed: Promise<Error>;
  stages: BusStages | null;
  upkeep: { stop(): Promise<void> }[];
}

/** Starts what STAGES, RETENTION_* and *_COMPRESS_AFTER ask for. */
async function startWork(
  { config, streaming, api, ignorePosition, retention, compression, log }: DaemonSetup,
  databaseUrl: string,
  found: Preflight,
  telemetry: Telemetry,
): Promise<Work> {
  const failed = config.stages.includes('ingest')
    ? startIngester({ config, ignorePosition, databaseUrl, found, log, telemetry })
    : new Promise<never>(() => {});
  const stages = streaming === null ? null : await busStagesOf(config, streaming, api, databaseUrl, log);
  if (stages !== null) {
    telemetry.failingStages = stages.failing;
    await stages.start();
  }
  const host = { databaseUrl, serviceName: config.serviceName, env: loggingEnv(log) };
  const upkeep: Work['upkeep'] = [];
  if (retention !== null)
    upkeep.push(startRetention(retention, { ...host, failed: () => telemetry.retried('retention') }));
  if (compression !== null)
    upkeep.push(startCompression(compression, { ...host, failed: () => telemetry.retried('compression') }));
  return { failed, stages, upkeep };
}

async function busStagesOf(
  config: Config,
  streaming: StreamingConfig,
  api: ApiSettings | null,
  databaseUrl: string,
  log: Log,
): Promise<BusStages> {
  return new BusStages({
    stages: busStages(config.stages),
    streaming,
    databaseUrl,
    serviceName: config.serviceName,
    consumer: await claimMemberName(`${config.serviceName}@${hostname()}`, databaseUrl),
    metricsPort: config.metricsPort ?? streaming.telemetry.metrics_port,
    appliesSchema: config.dbMigrate === 'auto',
    api,
    env: loggingEnv(log),
  });
}

/** Writes what was read, for DRAIN_MS at most. Resolves with the exit code. */
async function drain(telemetry: Telemetry, log: Log): Promise<number> {
  const late = delay(DRAIN_MS + CLOSE_MS, false, { ref: false });
  const drained = await Promise.race([telemetry.ingester?.stop() ?? true, late]);
  if (!drained) {
    log.error({ limit_ms: DRAIN_MS }, 'Pipeline shutdown timed out');
    return EXIT_FAILED;
  }
  log.info({ position: telemetry.ingester?.status.position ?? null }, 'Stopped');
  return 0;
}
