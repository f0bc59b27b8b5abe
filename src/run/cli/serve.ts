import type { Command } from 'commander';
import { hostname } from 'node:os';
import { ServedAlone } from '../api/served-alone.ts';
import { apiSecrets, readApiSettings } from '../api/settings.ts';
import { claimMemberName } from '../stages/member-name.ts';
import { runRole } from '../stages/standalone.ts';
import { withServerUrl } from './database.ts';
import { wholeNumber } from './arguments.ts';
import { runStreaming, schemaPolicy, type StreamEnvironment } from './stream/commands.ts';

interface ServeArguments {
  config?: string;
  metricsPort?: number;
  flush: boolean;
}

/** `mdp serve`: the API as its own program. */
export function registerServe(program: Command, env: StreamEnvironment): void {
  program
    .command('serve')
    .description('the HTTP API: webhook, queries and the live path, on API_HOST:API_PORT')
    .option('--config <file>', 'default: STREAMING_CONFIG, else the packaged configs/streaming.yaml')
    .option('--no-flush', 'store nothing of what the webhook takes: "mdp stream flush" or a daemon does')
    .option('--metrics-port <port>', 'port of /metrics (default: telemetry.metrics_port)', wholeNumber)
    .addHelpText('after', HELP)
    .action((options: ServeArguments, command: Command) =>
      runStreaming(command, (streaming) => {
        const api = readApiSettings();
        return withServerUrl(env.databaseUrl, async (databaseUrl) => {
          const consumer = await claimMemberName(`${hostname()}-api`, databaseUrl);
          const setup = {
            stage: 'api' as const,
            streaming,
            databaseUrl,
            serviceName: 'mdp serve',
            consumer,
            schema: schemaPolicy(env.databaseUrl, 'wait'),
            maintainsBus: true,
            api,
            readDatabaseUrl: api.readDatabaseUrl,
          };
          const metricsPort = options.metricsPort ?? null;
          const secrets = apiSecrets(api);
          await runRole(
            { streaming, service: 'mdp-api', metricsPort, secrets },
            (host) => new ServedAlone(setup, options.flush, host),
          );
        });
      }),
    );
}

const HELP = `
Examples:
  $ mdp serve
  $ API_TOKEN=$(openssl rand -hex 32) API_HOST=0.0.0.0 mdp serve

The description is served at /openapi.json. On 127.0.0.1 without API_TOKEN everything but the webhook is open to programs of this machine.
Ends at SIGTERM or Ctrl-C after the requests in hand.
Exit codes: 0 stopped cleanly, 1 failed, 2 a mistake in the command line or the configuration.
The database is named by DATABASE_URL (no default), a replica for queries by READ_DATABASE_URL.`;
