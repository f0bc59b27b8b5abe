/** What the commands on the bus share: the configuration they read, a bus to work with, and errors as one line. */
import { envOf } from '../../../core/env.ts';
import type { Command } from 'commander';
import { BusError, type StreamBus } from '../../../bus/bus.ts';
import { StoreClient } from '../../../store/store-client.ts';
import { ConfigError, readSetting } from '../../config/load.ts';
import { readStreamingConfig, type StreamingConfig } from '../../config/streaming/load.ts';
import { YamlError } from '../../config/streaming/yaml.ts';
import { openBus } from '../../stages/open-bus.ts';
import type { SchemaPolicy } from '../../stages/stage-setup.ts';
import { EXIT_FAILED, EXIT_USAGE } from '../../exit-codes.ts';
import { endWithUsage, nameOf } from '../arguments.ts';
import { databaseFailure, NoDatabaseError, withServerUrl } from '../database.ts';

export interface StreamEnvironment {
  databaseUrl?: string | undefined;
  /** where ticks are read; by default the database itself */
  readDatabaseUrl?: string | undefined;
}

/** What every command of `mdp stream` needs: the configuration, and errors as one line. */
export interface StreamCommands {
  /** with --config */
  command(name: string, description: string): Command;
  run(command: Command, work: (config: StreamingConfig) => Promise<void>): Promise<void>;
  /** A bus for as long as the work takes; a database is required only when the bus is in it. */
  withBus(config: StreamingConfig, work: BusWork): Promise<void>;
}

/** @param store null where no database is named */
export type BusWork = (bus: StreamBus, store: StoreClient | null) => Promise<void>;

/** DB_MIGRATE, which is auto by default with `embedded:`; @param otherwise when it is off */
export function schemaPolicy(databaseUrl: string | undefined, otherwise: 'wait' | 'fail'): SchemaPolicy {
  const initial = databaseUrl?.startsWith('embedded:') === true ? 'auto' : 'off';
  return (readSetting('dbMigrate') ?? initial) === 'auto' ? 'apply' : otherwise;
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
    command.error(`${nameOf(command)}: ${said}`, { exitCode: EXIT_FAILED });
  }
}

export async function withBus(env: StreamEnvironment, config: StreamingConfig, work: BusWork): Promise<void> {
  const given = env.databaseUrl ?? '';
  if (given === '' && config.bus.type !== 'postgres') return withCheckpoints(null, config, work);
  return withServerUrl(given, (databaseUrl) => withCheckpoints(databaseUrl, config, work));
}

/** The bus, with the checkpoints of its groups in the database where one is named. */
async function withCheckpoints(
  databaseUrl: string | null,
  config: StreamingConfig,
  work: BusWork,
): Promise<void> {
  const store =
    databaseUrl === null ? null : new StoreClient({ dbUri: databaseUrl, applicationName: 'mdp stream' });
  let bus: StreamBus | null = null;
  try {
    bus = await openBus(config, {
      databaseUrl,
      clientName: 'mdp',
      checkpoints: store?.busCheckpoints ?? NO_CHECKPOINTS,
      env: envOf({
        log: (level, message) => {
          if (level !== 'info') process.stderr.write(`${message}\n`);
        },
      }),
    });
    await work(bus, store);
  } catch (error) {
    throw store === null ? error : await store.reasonOf(error);
  } finally {
    await bus?.close();
    await store?.aclose();
  }
}

/** Read-only commands store no checkpoint. */
const NO_CHECKPOINTS = {
  read: () => Promise.resolve(null),
  write: () => Promise.resolve(),
  starting: () => Promise.resolve(1),
  drop: () => Promise.resolve(),
};
