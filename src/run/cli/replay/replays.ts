import type { Command } from 'commander';
import { ReplayRefused } from '../../../core/replay/refusal.ts';
import type { ReplayFields } from '../../../core/replay/request.ts';
import { systemClock } from '../../../core/time.ts';
import { Replays } from '../../../serve/replay/replays.ts';
import { ReadPool } from '../../../store/queries/read-pool.ts';
import { StoreClient } from '../../../store/store-client.ts';
import type { StreamingConfig } from '../../config/streaming/load.ts';
import { EXIT_FAILED, EXIT_USAGE } from '../../exit-codes.ts';
import { eventsTopic } from '../../stages/open-bus.ts';
import { nameOf } from '../arguments.ts';
import { withServerUrl } from '../database.ts';
import { runStreaming } from '../stream/commands.ts';

export interface ReplayEnvironment {
  databaseUrl?: string | undefined;
  /** where ticks are read; by default the database itself */
  readDatabaseUrl?: string | undefined;
}

/** What commands about replays work with. */
export interface ReplayWork {
  replays: Replays;
  config: StreamingConfig;
  databaseUrl: string;
}

/** Every refusal is one line, and exit code 2 where the command line is to blame. */
export function withReplays(
  command: Command,
  env: ReplayEnvironment,
  work: (parts: ReplayWork) => Promise<void>,
): Promise<void> {
  return runStreaming(command, (config) =>
    withServerUrl(env.databaseUrl, async (databaseUrl) => {
      const store = new StoreClient({ dbUri: databaseUrl, applicationName: 'mdp replay' });
      const readUrl = env.readDatabaseUrl ?? databaseUrl;
      const reads = new ReadPool({
        databaseUrl: readUrl.startsWith('embedded:') ? databaseUrl : readUrl,
        applicationName: 'mdp replay',
        sessionsMax: 1,
      });
      const topic = eventsTopic(config);
      try {
        const replays = new Replays({ store: store.replay, reads, topic, env: { clock: systemClock } });
        await work({ replays, config, databaseUrl });
      } catch (error) {
        if (!(error instanceof ReplayRefused)) throw await store.reasonOf(error);
        const exitCode = error.refusal.kind === 'bad_field' ? EXIT_USAGE : EXIT_FAILED;
        command.error(`${nameOf(command)}: ${error.message}`, { exitCode });
      } finally {
        await reads.close();
        await store.aclose();
      }
    }),
  );
}

/** What a dataset of the configuration is made of. @throws ReplayRefused unknown_dataset */
export function datasetFields({ replay }: StreamingConfig, name: string): ReplayFields {
  if (!Object.hasOwn(replay.datasets, name))
    throw new ReplayRefused({ kind: 'unknown_dataset', name, known: Object.keys(replay.datasets) });
  return replay.datasets[name];
}
