import { hostname } from 'node:os';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { parseIsoMicros } from '../../../core/time.ts';
import { runRole } from '../../stages/standalone.ts';
import { buildStage } from '../../stages/build.ts';
import type { Role } from '../../stages/stage-setup.ts';
import { endWithUsage, wholeNumber } from '../arguments.ts';
import { schemaPolicy, type StreamCommands, type StreamEnvironment } from './commands.ts';
import { withServerUrl } from '../database.ts';

interface ProduceArguments {
  provider: 'synthetic' | 'ibkr' | 'continuum';
  count?: number;
  rate?: number;
  seed?: number;
  start?: bigint;
  metricsPort?: number;
}

const ROLES: Readonly<Record<ProduceArguments['provider'], Role>> = {
  synthetic: 'synthetic',
  ibkr: 'ibkr',
  continuum: 'orders',
};

/** `mdp stream produce`: market events onto the bus. */
export function registerProduce(commands: StreamCommands, env: StreamEnvironment): void {
  commands
    .command('produce', 'market events onto the bus; waits while the bus is away or full, and loses none')
    .addOption(
      new Option('--provider <name>', 'where they come from')
        .choices(Object.keys(ROLES))
        .makeOptionMandatory(),
    )
    .option('--count <n>', 'synthetic: end after so many events (default: without end)', wholeNumber)
    .option(
      '--rate <n>',
      'synthetic: events a second over all symbols, 0 = as fast as the bus takes them (default: tick_rate for each symbol)',
      wholeNumber,
    )
    .option(
      '--seed <n>',
      'synthetic: the same seed gives the same events (default: of the configuration)',
      wholeNumber,
    )
    .option('--start <time>', 'synthetic: time of the first event, ISO-8601 (default: now)', time)
    .option('--metrics-port <port>', 'port of /metrics (default: telemetry.metrics_port)', wholeNumber)
    .addHelpText('after', HELP)
    .action((options: ProduceArguments, command: Command) => {
      const { provider, count = null, rate = null, seed = null, start = null } = options;
      if (provider !== 'synthetic' && [count, rate, seed, start].some((value) => value !== null)) {
        endWithUsage(command, '--count, --rate, --seed and --start belong to --provider synthetic');
      }
      return commands.run(command, (streaming) =>
        withServerUrl(env.databaseUrl, (databaseUrl) =>
          runRole({ streaming, service: 'mdp-produce', metricsPort: options.metricsPort ?? null }, (host) =>
            buildStage(
              {
                stage: ROLES[provider],
                streaming,
                databaseUrl,
                serviceName: 'mdp stream',
                consumer: hostname(),
                schema: schemaPolicy(env.databaseUrl, 'fail'),
                maintainsBus: true,
                synthetic: { count, rate, seed, startMicros: start },
              },
              host,
            ),
          ),
        ),
      );
    });
}

const HELP = `
Examples:
  $ mdp stream produce --config configs/streaming.yaml --provider synthetic
  $ mdp stream produce --provider synthetic --count 1000000 --rate 0 --seed 7 --start 2025-10-24
  $ mdp stream produce --provider ibkr
  $ mdp stream produce --provider continuum

synthetic: a random walk of each symbol of producers.synthetic. ibkr: trades of Interactive Brokers through TWS or IB
Gateway, at host and port of producers.ibkr; reconnects without end. continuum: the market orders of the chain ticks that the
ingester has committed, from a cursor of its own (the stage "orders" of the daemon does the same).
Exit codes: 0 stopped cleanly or all published, 1 failed, 2 a mistake in the command line or the configuration.
The database is named by DATABASE_URL (no default): runs are recorded in job_runs.`;

function time(text: string): bigint {
  try {
    return parseIsoMicros(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}
