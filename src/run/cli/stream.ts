import { hostname } from 'node:os';
import { Option, type Command } from 'commander';
import type { StreamBus } from '../../bus/bus.ts';
import { BusError } from '../../bus/bus.ts';
import { StoreClient } from '../../store/store-client.ts';
import { ConfigError } from '../config.ts';
import { runRole } from '../role.ts';
import { buildStage } from '../stage-build.ts';
import { openBus } from '../stream-bus.ts';
import type { StreamingConfig } from '../streaming-config.ts';
import { readStreamingConfig } from '../streaming-file.ts';
import { YamlError } from '../streaming-yaml.ts';
import { endWithUsage, EXIT_PROBLEM, EXIT_USAGE, nameOf, wholeNumber } from './arguments.ts';
import { registerGroups } from './stream-groups.ts';
import { registerProduce } from './stream-produce.ts';
import { registerTail } from './stream-tail.ts';
import { databaseFailure, NoDatabaseError, withServerUrl } from './with-database.ts';

export interface StreamEnvironment {
  databaseUrl?: string | undefined;
}

/** What every command of `mdp stream` needs: the configuration, and errors as one line. */
export interface StreamCommands {
  /** with --config */
  command(name: string, description: string): Command;
  run(command: Command, work: (config: StreamingConfig) => Promise<void>): Promise<void>;
  /** A bus for as long as the work takes; the database is asked for only where the bus is in it. */
  withBus(config: StreamingConfig, work: BusWork): Promise<void>;
}

/** @param store null where no database is named */
export type BusWork = (bus: StreamBus, store: StoreClient | null) => Promise<void>;

/** `mdp stream …`: the roles on the bus as programs of their own, and looks at what is on it. */
export function registerStream(program: Command, env: StreamEnvironment): void {
  const stream = program
    .command('stream')
    .description('the stream bus: producers, consumers, and looks at what is on it');
  const commands: StreamCommands = {
    command: (name, description) =>
      stream
        .command(name)
        .description(description)
        .option(
          '--config <file>',
          'the configuration (default: STREAMING_CONFIG, or configs/streaming.yaml)',
        ),
    run: (command, work) => runStreaming(command, work),
    withBus: (config, work) => withBus(env, config, work),
  };
  registerProduce(commands, env);
  registerTicks(commands, env);
  registerTail(commands);
  registerGroups(commands);
}

interface RoleArguments {
  config?: string;
  group?: string;
  consumer?: string;
  batchSize?: number;
  metricsPort?: number;
}

/** Every role takes these. */
function withRoleOptions(command: Command): Command {
  return command
    .option('--group <name>', "consumer group (default: the role's own of the configuration)")
    .option(
      '--consumer <name>',
      'name of this member of the group; members of one group need different names (default: host name)',
    )
    .option(
      '--batch-size <n>',
      'records of one transaction while it keeps up (default: of the configuration)',
      wholeNumber,
    )
    .addOption(
      new Option('--metrics-port <port>', 'port of /metrics (default: telemetry.metrics_port)').argParser(
        wholeNumber,
      ),
    );
}

function registerTicks(commands: StreamCommands, env: StreamEnvironment): void {
  withRoleOptions(commands.command('ticks', 'market ticks from the bus into the table tick_data, each once'))
    .addHelpText('after', TICKS_HELP)
    .action((options: RoleArguments, command: Command) =>
      commands.run(command, (streaming) =>
        withServerUrl(env.databaseUrl, (databaseUrl) =>
          runRole({ streaming, service: 'mdp-ticks', metricsPort: options.metricsPort ?? null }, (host) =>
            buildStage(
              {
                stage: 'ticks',
                streaming,
                databaseUrl,
                serviceName: 'mdp stream',
                consumer: options.consumer ?? `${hostname()}-ticks`,
                ...(options.group === undefined ? {} : { group: options.group }),
                ...(options.batchSize === undefined ? {} : { batchSize: options.batchSize }),
                keepsHouse: true,
              },
              host,
            ),
          ),
        ),
      ),
    );
}

const TICKS_HELP = `
Examples:
  $ mdp stream ticks --config configs/streaming.yaml
  $ mdp stream ticks --consumer tick-2 --batch-size 1000 --metrics-port 9102

Malformed events go to mdp.events.dlq with their reason; bars and replayed ticks are left to others. Ends at SIGTERM or
Ctrl-C with what is in hand stored and acknowledged.
Exit codes: 0 stopped cleanly, 1 failed, 2 a mistake in the command line or the configuration.
The database is named by DATABASE_URL (no default).`;

/** With the configuration of --config; every error is one line and an exit code. */
export async function runStreaming(
  command: Command,
  work: (config: StreamingConfig) => Promise<void>,
): Promise<void> {
  try {
    await work(readStreamingConfig(command.opts<{ config?: string }>().config));
  } catch (error) {
    if (error instanceof YamlError || error instanceof ConfigError) {
      command.error(error.message, { exitCode: EXIT_USAGE });
    }
    if (error instanceof NoDatabaseError) endWithUsage(command, error.message);
    const said = error instanceof BusError ? error.message : databaseFailure(error);
    command.error(`${nameOf(command)}: ${said}`, { exitCode: EXIT_PROBLEM });
  }
}

export async function withBus(env: StreamEnvironment, config: StreamingConfig, work: BusWork): Promise<void> {
  const given = env.databaseUrl ?? '';
  if (given === '' && config.bus.type !== 'postgres') return withMarks(null, config, work);
  return withServerUrl(given, (databaseUrl) => withMarks(databaseUrl, config, work));
}

async function withMarks(databaseUrl: string | null, config: StreamingConfig, work: BusWork): Promise<void> {
  const store =
    databaseUrl === null ? null : new StoreClient({ dbUri: databaseUrl, applicationName: 'mdp stream' });
  let bus: StreamBus | null = null;
  try {
    bus = await openBus(config, {
      databaseUrl,
      clientName: 'mdp',
      marks: store?.busMarks ?? NO_MARKS,
      log: (level, message) => {
        if (level !== 'info') process.stderr.write(`${message}\n`);
      },
    });
    await work(bus, store);
  } finally {
    await bus?.close();
    await store?.aclose();
  }
}

/** Who only looks has no marks. */
const NO_MARKS = {
  read: () => Promise.resolve(null),
  write: () => Promise.resolve(),
  starting: () => Promise.resolve(1),
  drop: () => Promise.resolve(),
};
