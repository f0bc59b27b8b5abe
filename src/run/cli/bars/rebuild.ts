import { Option, type Command } from 'commander';
import { formatMicros, type Clock } from '../../../core/time.ts';
import { StoreClient } from '../../../store/store-client.ts';
import { BarsRebuild, type RebuildReport } from '../../../stream/bars/rebuild.ts';
import type { StreamingConfig } from '../../config/streaming/load.ts';
import { EXIT_FAILED } from '../../exit-codes.ts';
import { watchSignals } from '../../signals.ts';
import { eventsTopic } from '../../stages/open-bus.ts';
import { endWithUsage } from '../arguments.ts';
import { symbolList, time, windowLength } from '../market-arguments.ts';
import { withDatabase } from '../database.ts';
import { startProgress, type Progress } from '../progress.ts';
import { runStreaming } from '../stream/commands.ts';
import { printOf, type Print } from '../text.ts';

export interface BarsEnvironment {
  databaseUrl?: string | undefined;
  clock: Clock;
}

interface RebuildArguments {
  provider: string;
  symbols?: string[];
  from: bigint;
  to: bigint;
  window?: number;
  group?: string;
  anew?: true;
  json?: true;
}

const APPLICATION = 'mdp bars rebuild';

/** `mdp bars rebuild`: final bars of a range from tick_data. */
export function registerBars(program: Command, env: BarsEnvironment): void {
  const bars = program.command('bars').description('bars of market ticks');
  bars
    .command('rebuild')
    .description(
      'make the final bars of a range from tick_data, with their rollups and revisions; a micro-batcher may run meanwhile',
    )
    .requiredOption('--provider <name>', 'the provider of the ticks')
    .addOption(
      new Option(
        '--symbols <list>',
        'symbols, separated by commas (default: all of the provider with ticks in the range)',
      ).argParser(symbolList),
    )
    .requiredOption(
      '--from <time>',
      'ISO-8601, UTC without a zone: the window that holds it is the first',
      time,
    )
    .requiredOption('--to <time>', 'ISO-8601: the end, itself excluded', time)
    .addOption(
      new Option(
        '--window <length>',
        'length of the windows: from 500ms, and a divisor of a minute (default: micro_batch.window_ms)',
      ).argParser(windowLength),
    )
    .option('--group <name>', "group of the micro-batcher (default: the role's own of the configuration)")
    .option('--config <file>', 'the configuration (default: STREAMING_CONFIG, or configs/streaming.yaml)')
    .option('--anew', 'begin at --from although a run with the same arguments was interrupted')
    .option('--json', 'one JSON object (default: text)')
    .addHelpText('after', HELP)
    .action((options: RebuildArguments, command: Command) => {
      if (options.from >= options.to) endWithUsage(command, '--from is not before --to');
      return runStreaming(command, (config) => run(command, options, config, env));
    });
}

const HELP = `
Example:
  $ mdp bars rebuild --provider ibkr --symbols SPY,QQQ --from 2025-08-01 --to 2025-08-23

For ticks that came too late to be in their bars (dead letters too_late), or that were imported. A bar is made, or replaced where
tick_data says otherwise: its version before goes to bars_history, and its revision rises. The bars 1m, 5m, 1h and 1d above it
follow. A bar that holds more ticks than tick_data stays, and is counted as kept.
Windows that the micro-batcher has not closed yet are left to it; unless micro_batch.late is revise, the whole day of these is.
The run is a row of job_runs (bars_rebuild). After an interruption the same command goes on where it was, a day of a symbol at
most is done again. Progress is shown on stderr, in days of symbols.
--json: run_id, resumed, provider, symbols, from, to, ticks and windows (read), made, revised, kept (bars, rollups included),
open_from (by symbol, where windows are left to the micro-batcher). Counts are those of the whole run.

Exit codes: 0 done, 1 failed or stopped, 2 a mistake in the command line or the configuration.
The database is named by DATABASE_URL (no default).`;

async function run(
  command: Command,
  options: RebuildArguments,
  config: StreamingConfig,
  { databaseUrl, clock }: BarsEnvironment,
): Promise<void> {
  const { provider, symbols = null, from, to } = options;
  const stopping = new AbortController();
  const { first } = watchSignals({ second: () => process.exit(EXIT_FAILED) });
  void first.then(() => stopping.abort());
  let progress = null as Progress | null;
  await withDatabase(databaseUrl, APPLICATION, async (client, serverUrl) => {
    const store = new StoreClient({ dbUri: serverUrl, applicationName: APPLICATION });
    try {
      const report = await new BarsRebuild({
        client,
        jobRuns: store.jobRuns,
        clock,
        topic: eventsTopic(config),
        group: options.group ?? config.bus.redis.consumer_group,
        partitions: config.bus.partitions,
        windowMs: options.window ?? config.micro_batch.window_ms,
        late: config.micro_batch.late,
        idleTimeoutMs: config.micro_batch.idle_timeout,
        provider,
        symbols,
        startUs: Number(from),
        endUs: Number(to),
        anew: options.anew === true,
        onProgress: (done, total) => {
          progress ??= startProgress('rebuilding', 'days', total, clock);
          progress.update(Math.floor(done));
        },
        stopping: stopping.signal,
      }).run();
      say(report, options, printOf(command));
    } finally {
      progress?.stop();
      await store.aclose();
    }
  });
}

function say(report: RebuildReport, { provider, from, to, json }: RebuildArguments, print: Print): void {
  const { runId, resumed, symbols, ticks, windows, made, revised, kept, openFromUs } = report;
  const openFrom = Object.fromEntries(
    [...openFromUs].map(([symbol, us]) => [symbol, formatMicros(BigInt(us))]),
  );
  if (json === true) {
    const range = { provider, symbols, from: formatMicros(from), to: formatMicros(to) };
    const counts = { ticks, windows, made, revised, kept, open_from: openFrom };
    print(JSON.stringify({ run_id: runId, resumed, ...range, ...counts }));
    return;
  }
  print(
    `run ${runId}${resumed ? ', resumed' : ''}: ${windows} windows of ${symbols.length} symbols from ${ticks} ticks; ` +
      `${made} bars made, ${revised} revised, ${kept} kept that hold more ticks than tick_data`,
  );
  for (const [symbol, us] of Object.entries(openFrom))
    print(`${symbol}: windows from ${us} on are left to the micro-batcher`);
}
