import { hostname } from 'node:os';
import type { Command } from 'commander';
import { buildStage } from '../../stages/build.ts';
import { claimMemberName } from '../../stages/member-name.ts';
import { runRole } from '../../stages/standalone.ts';
import { EXIT_FAILED } from '../../exit-codes.ts';
import { endWithUsage, nameOf, wholeNumber } from '../arguments.ts';
import { follow } from '../replay/follow.ts';
import { sayRun } from '../replay/replay.ts';
import { withReplays, type ReplayEnvironment, type ReplayWork } from '../replay/replays.ts';
import { fieldsOf, speed } from '../replay/request-options.ts';
import { schemaPolicy, type StreamCommands } from './commands.ts';

interface StreamReplayArguments {
  dataset?: string;
  from?: string;
  to?: string;
  speed?: number;
  topic?: string;
  repair?: true;
  batchSize?: number;
  consumer?: string;
  group?: string;
  metricsPort?: number;
}

/** `mdp stream replay`: a dataset of the configuration onto the bus, by this very process. */
export function registerStreamReplay(commands: StreamCommands, env: ReplayEnvironment): void {
  commands
    .command('replay', 'stored ticks onto the bus again, in order and at the speed that is asked for')
    .option(
      '--dataset <name>',
      'a dataset of the configuration, replay.datasets (default: run what the API and "mdp replay" ask for, until a signal)',
    )
    .option('--from <time>', 'ISO-8601, UTC without a zone: the first tick is at or behind it')
    .option('--to <time>', 'ISO-8601: the end, itself excluded')
    .option(
      '--speed <n>',
      '1 as it was, 10 ten times as fast, 0 as fast as the bus takes it (default: 0)',
      speed,
    )
    .option('--topic <name>', 'where the events go (default: that of market events)')
    .option('--repair', 'also fill live bars within the range that are missing or have fewer ticks')
    .option('--batch-size <rows>', 'rows that are read at once (default: 20000)', wholeNumber)
    .option(
      '--consumer <name>',
      'name of this process as the holder of the run (default: made of the host name)',
    )
    .option('--group <name>', 'no group reads for a replay: refused')
    .option('--metrics-port <port>', 'port of /metrics (default: telemetry.metrics_port)', wholeNumber)
    .addHelpText('after', HELP)
    .action((options: StreamReplayArguments, command: Command) => {
      if (options.group !== undefined)
        endWithUsage(command, '--group belongs to roles that read the bus; a replay reads tables');
      return withReplays(command, env, async (work) => {
        const consumer =
          options.consumer ?? (await claimMemberName(`${hostname()}-replay`, work.databaseUrl));
        const run = (only: bigint | null): Promise<void> =>
          runReplayer(work, env, options, { consumer, only });
        if (options.dataset !== undefined) return replayDataset(command, work, options, { consumer, run });
        if (
          [options.from, options.to, options.speed, options.topic, options.repair].some(
            (one) => one !== undefined,
          )
        )
          endWithUsage(command, '--from, --to, --speed, --topic and --repair belong to --dataset');
        return run(null);
      });
    });
}

/** Starts a run of the dataset, and runs it. */
async function replayDataset(
  command: Command,
  { replays, config }: ReplayWork,
  options: StreamReplayArguments,
  { consumer, run }: { consumer: string; run: (only: bigint) => Promise<void> },
): Promise<void> {
  const { batchSize, ...request } = options;
  const more = batchSize === undefined ? {} : { maxBatchSize: batchSize };
  const runId = await replays.insert(fieldsOf({ speed: 0, ...request, ...more }, config), consumer);
  const ended = new AbortController();
  const following = follow(replays, runId, ended.signal);
  following.catch(() => {});
  try {
    await run(runId);
  } finally {
    ended.abort();
  }
  const last = await following;
  sayRun((line) => process.stderr.write(`${line}\n`), last, false);
  if (last.status === 'success') return;
  const left = last.completed_at === null ? '; a daemon with the stage api goes on with it' : '';
  command.error(`${nameOf(command)}: replay ${runId} is ${last.status}${left}`, { exitCode: EXIT_FAILED });
}

/** @param only one run; null: all that are asked for, until a signal */
function runReplayer(
  { config: streaming, databaseUrl }: ReplayWork,
  env: ReplayEnvironment,
  options: StreamReplayArguments,
  { consumer, only }: { consumer: string; only: bigint | null },
): Promise<void> {
  return runRole({ streaming, service: 'mdp-replay', metricsPort: options.metricsPort ?? null }, (host) =>
    buildStage(
      {
        stage: 'replay',
        streaming,
        databaseUrl,
        readDatabaseUrl: env.readDatabaseUrl ?? null,
        serviceName: 'mdp stream',
        consumer,
        schema: schemaPolicy(env.databaseUrl, 'fail'),
        maintainsBus: true,
        ...(only === null ? {} : { replayRun: only }),
      },
      host,
    ),
  );
}

const HELP = `
Examples:
  $ mdp stream replay --dataset spy_1day_history --from "2025-10-01" --to "2025-10-02"
  $ mdp stream replay --dataset spy_1day_history --from 2025-10-01T14:30 --to 2025-10-01T21:00 --speed 10
  $ mdp stream replay

Events have origin replay and the number of the run: they go to bars_replay and to signals of the run, never to live bars. The run is
a row of job_runs (tick_replay): "mdp replay pause", "resume", "speed", "seek" and "cancel" steer it. Its progress is shown on stderr.
Ends with the run, or at SIGTERM or Ctrl-C: a daemon with the stage api then goes on with it ("mdp replay cancel" ends it).
Exit codes: 0 all emitted, 1 failed, stopped or cancelled, 2 a mistake in the command line or the configuration.
The database is named by DATABASE_URL (no default); READ_DATABASE_URL names a replica for reading.`;
