import { readFileSync } from 'node:fs';
import type { Env } from '../../core/env.ts';
import { providersOf } from '../../core/market/identity/providers.ts';
import { ApiStage } from '../../serve/api/api-stage.ts';
import { TokenAccess } from '../../serve/api/guard/token-access.ts';
import { exportRoutes } from '../../serve/api/routes/exports.ts';
import { ingestRoutes } from '../../serve/api/routes/ingest.ts';
import { livenessRoutes } from '../../serve/api/routes/liveness.ts';
import { liveRoutes } from '../../serve/api/routes/live.ts';
import { queryRoutes } from '../../serve/api/routes/queries.ts';
import { Reading } from '../../serve/api/reading.ts';
import { replayRoutes } from '../../serve/api/routes/replay.ts';
import { scheduleRoutes } from '../../serve/api/routes/schedules.ts';
import { ExportJobs } from '../../serve/export/export-jobs.ts';
import { Replays } from '../../serve/replay/replays.ts';
import { eventsTopic } from '../stages/open-bus.ts';
import type { Routes } from '../../serve/api/routes.ts';
import { ApiTokens } from '../../store/api-tokens.ts';
import { ReadPool } from '../../store/queries/read-pool.ts';
import { schemaFiles } from '../../store/schema/migrate.ts';
import type { Stage } from '../../stream/stage.ts';
import { TickIntake } from '../../stream/webhook/tick-intake.ts';
import { isLoopback } from '../config/addresses.ts';
import { topicsOf } from '../stages/bus-report.ts';
import type { Connections } from '../stages/connected-stage.ts';
import type { StageSetup } from '../stages/stage-setup.ts';
import { buildLive } from './live.ts';
import { TOKEN_CHARS_MIN, type ApiSettings } from './settings.ts';

const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

/** The API with everything that its routes hold. */
export async function buildApi(
  { api, streaming, databaseUrl, serviceName, consumer }: StageSetup,
  { bus, store, busReport, env, meter }: Connections,
): Promise<Stage> {
  if (api === undefined) throw new Error('the stage api has no settings');
  warnOf(api, env);
  const table = new ApiTokens({ dbUri: databaseUrl, applicationName: `${serviceName} tokens` });
  const access = new TokenAccess({ tokens: api.tokens, table, env });
  await access.start();
  const reads = new ReadPool({
    databaseUrl: api.readDatabaseUrl ?? databaseUrl,
    applicationName: `${serviceName} reads`,
  });
  const intake = new TickIntake({
    bus,
    backpressure: busReport.capacity,
    group: streaming.webhook.consumer_group,
    member: `intake ${consumer}`,
    meter,
    env,
  });
  await intake
    .prepare()
    .catch((err: unknown) => env.log('warn', 'The webhook cannot keep ticks yet', { err }));
  const {
    live,
    latest,
    close: closeLive,
  } = buildLive({
    bus,
    streaming,
    databaseUrl,
    applicationName: serviceName,
    access,
    env,
  });
  const replays = new Replays({ store: store.replay, reads, topic: eventsTopic(streaming), env });
  const exports =
    api.exportDir === null
      ? null
      : new ExportJobs({
          directory: api.exportDir,
          databaseUrl: api.readDatabaseUrl ?? databaseUrl,
          jobRuns: store.jobRuns,
          env,
        });
  const routes: Routes[] = [
    livenessRoutes,
    ingestRoutes(intake, providersOf(streaming.providers)),
    ...queryRoutes({
      pool: reads,
      latest,
      bus,
      topics: topicsOf(streaming),
      schema: await schemaFiles(),
      clock: env.clock,
    }),
    ...liveRoutes(live),
    replayRoutes(replays),
    scheduleRoutes(replays),
    exportRoutes(new Reading(reads), exports),
  ];
  const { rate_limit, auth_failures, connections_max, trusted_proxies } = streaming.api;
  return new ApiStage({
    host: api.host,
    port: api.port,
    access,
    routes,
    version,
    allowedHosts: api.allowedHosts,
    signatureKeys: api.hmacKeys,
    limits: {
      requestsPerSecondMax: rate_limit,
      authFailuresPerMinuteMax: auth_failures,
      connectionsMax: connections_max,
      trustedProxies: trusted_proxies,
    },
    env,
    meter,
    close: async () => {
      await closeLive();
      await exports?.close();
      await intake.stop();
      await reads.close();
      await table.close();
      await access.close();
    },
  });
}

/** What is allowed, and may not be meant. */
function warnOf({ host, port, tokens }: ApiSettings, { log }: Env): void {
  if (tokens.length === 0)
    log('warn', 'The API asks for no token: everybody on this machine may use it (API_TOKEN is not set)', {
      port,
    });
  if (tokens.some((token) => token.length < TOKEN_CHARS_MIN))
    log('warn', `API_TOKEN has less than ${TOKEN_CHARS_MIN} characters: it could be guessed`, { port });
  if (!isLoopback(host))
    log(
      'warn',
      'The API sends tokens and data unencrypted beyond this machine: put a proxy with TLS before it',
      {
        host,
        port,
      },
    );
}
