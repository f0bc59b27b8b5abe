import type { Command } from 'commander';
import type { StreamBus } from '../../../bus/bus.ts';
import { BusError } from '../../../bus/bus.ts';
import { StoreClient } from '../../../store/store-client.ts';
import { ConfigError } from '../../config/load.ts';
import { openBus } from '../../stages/open-bus.ts';
import type { StreamingConfig } from '../../config/streaming.ts';
import { readStreamingConfig } from '../../config/file.ts';
import { YamlError } from '../../config/yaml.ts';
import { endWithUsage, EXIT_PROBLEM, EXIT_USAGE, nameOf } from '../arguments.ts';
import { registerMicroBatch, registerTicks } from './consumers.ts';
import { registerGroups } from './groups.ts';
import { registerProduce } from './produce.ts';
import { registerTail } from './tail.ts';
import { databaseFailure, NoDatabaseError, withServerUrl } from '../database.ts';

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
  registerMicroBatch(commands, env);
  registerTail(commands);
  registerGroups(commands);
}

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
