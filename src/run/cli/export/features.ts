import { Option, type Command } from 'commander';
import type { FormName } from '../../../core/export/format.ts';
import { featureSet } from '../../../core/feature/catalogue.ts';
import { parseDuration } from '../../../core/duration.ts';
import { parseLabel, type HistoryRow } from '../../../core/signal/history-rows.ts';
import { featureBatch, featureColumns } from '../../../serve/export/feature-batch.ts';
import { FileOfExport } from '../../../serve/export/exported-file.ts';
import { FileRun } from '../../../serve/export/file-run.ts';
import { exportFeatures, type Comparison } from '../../../serve/export/features.ts';
import { openTarget } from '../../../serve/export/targets/open.ts';
import { StoreClient } from '../../../store/store-client.ts';
import { hasS3Endpoint } from '../../config/load.ts';
import { featureSettings } from '../../config/streaming/feature-keys.ts';
import type { StreamingConfig } from '../../config/streaming/load.ts';
import { EXIT_FAILED } from '../../exit-codes.ts';
import { watchSignals } from '../../signals.ts';
import { eventsTopic } from '../../stages/open-bus.ts';
import { endWithUsage } from '../arguments.ts';
import { withServerUrl } from '../database.ts';
import { symbolList, time, windowLength } from '../market-arguments.ts';
import { startProgress } from '../progress.ts';
import { runStreaming } from '../stream/commands.ts';
import { printOf } from '../text.ts';
import { FORMAT_OPTION, formOfOutput } from './arguments.ts';
import type { ExportEnvironment } from './environment.ts';

interface FeatureArguments {
  provider: string;
  symbols: string[];
  start: bigint;
  end: bigint;
  label: string[];
  window?: number;
  group?: string;
  output: string;
  format?: FormName;
  json?: true;
}

const APPLICATION = 'mdp export features';

/** `mdp export features`: what the inference saw, as training data. */
export function registerFeatures(exports: Command, env: ExportEnvironment): void {
  exports
    .command('features')
    .description('the features at the end of each window, as the inference had them live, and what followed')
    .requiredOption('--provider <name>', 'the provider of the ticks')
    .addOption(
      new Option('--symbols <list>', 'symbols, separated by commas')
        .argParser(symbolList)
        .makeOptionMandatory(),
    )
    .requiredOption('--start <time>', 'ISO-8601, UTC without a zone: the first time of a row', time)
    .requiredOption('--end <time>', 'ISO-8601: the end, itself excluded', time)
    .requiredOption(
      '--output <place>',
      'a path, s3://BUCKET/KEY or gs://BUCKET/KEY, ending in .csv, .csv.gz, .csv.zst or .parquet. Parents are created',
    )
    .addOption(FORMAT_OPTION)
    .addOption(
      new Option(
        '--label <name>',
        'a column of what followed: NAME@+LENGTH is the feature that much later, such as ret_30s@+60s; may be repeated',
      )
        .argParser((text: string, before: string[]) => [...before, text])
        .default([] as string[], 'none'),
    )
    .addOption(
      new Option(
        '--window <length>',
        'length of the windows: from 500ms, and a divisor of a minute (default: micro_batch.window_ms)',
      ).argParser(windowLength),
    )
    .option('--group <name>', 'group of the inference (default: inference.consumer_group)')
    .option('--config <file>', 'the configuration (default: STREAMING_CONFIG, or configs/streaming.yaml)')
    .option('--json', 'one JSON object (default: text)')
    .addHelpText('after', HELP)
    .action((options: FeatureArguments, command: Command) => {
      if (options.start >= options.end) endWithUsage(command, '--start is not before --end');
      return runStreaming(command, (config) => run(command, options, config, env));
    });
}

const HELP = `
Example:
  $ mdp export features --provider ibkr --symbols SPY,QQQ --start 2025-10-01 --end 2025-10-08 \\
      --label ret_30s@+60s --output train/spy.csv.gz

A row is the end of a window that had ticks: provider, symbol, ts, price, the features (docs/signals.md), the labels. Features are
those of the configuration, computed from tick_data by the code of "mdp stream infer": from the tick with which it began, without the
ticks that came too late for it, and without anything behind ts. Labels are what followed; empty where it is not known yet. An empty
cell is a feature that has no value yet.
Where the inference ran, the rows are compared with the digests that it stored, hour by hour; a difference is said, and the exit code
is 1: then tick_data is not what it saw (ticks imported since, or removed), or its configuration was another one.

Exit codes: 0 done, 1 failed, or the rows differ from what was seen live, 2 a mistake in the command line or the configuration.
The database is named by READ_DATABASE_URL or DATABASE_URL (no default).`;

async function run(
  command: Command,
  options: FeatureArguments,
  config: StreamingConfig,
  { databaseUrl, clock }: ExportEnvironment,
): Promise<void> {
  const { provider, symbols, start, end, output } = options;
  const set = featureSet(featureSettings(config.features));
  const labels = options.label.map((text) => {
    try {
      return parseLabel(text, set, parseDuration);
    } catch (error) {
      return endWithUsage(command, (error as Error).message);
    }
  });
  const form = formOfOutput(options.format, output, false);
  if (form === null)
    endWithUsage(
      command,
      `the ending of ${output} names no format: .csv, .csv.gz, .csv.zst, .parquet, or --format`,
    );
  const { target, name } = await openTarget(output, { isFolder: false, isPathStyle: hasS3Endpoint() });
  const columns = featureColumns(
    set.names,
    labels.map((label) => label.name),
  );
  await withServerUrl(databaseUrl, async (serverUrl) => {
    const store = new StoreClient({ dbUri: serverUrl, applicationName: APPLICATION });
    const progress = startProgress('exporting', 'symbols', symbols.length, clock);
    const compared: Comparison[] = [];
    const stopping = new AbortController();
    const { first } = watchSignals({ second: () => process.exit(EXIT_FAILED) });
    void first.then(() => stopping.abort());
    try {
      const jobs = await FileRun.start(store.jobRuns, {
        jobName: 'tick_export',
        provider,
        symbols,
        metadata: { dataset: 'features', format: form, output: target.address(name ?? '') },
        clock,
        stopping: stopping.signal,
      });
      const written = await jobs.around(async () => {
        const file = await FileOfExport.create(target, name ?? '', {
          columns,
          form,
          isForSpreadsheets: false,
        });
        try {
          for (const [at, symbol] of symbols.entries()) {
            const rows = {
              signals: store.signals,
              topic: eventsTopic(config),
              group: options.group ?? config.inference.consumer_group,
              provider,
              set,
              windowMs: options.window ?? config.micro_batch.window_ms,
              labels,
              startUs: Number(start),
              endUs: Number(end),
            };
            const take = async (some: readonly HistoryRow[]): Promise<void> => {
              const [from, to] = [some[0].tsUs, some[some.length - 1].tsUs].map(BigInt);
              await file.write(featureBatch(columns, provider, symbols, symbol, some), from, to);
              jobs.took(some.length, from, to);
            };
            compared.push(await exportFeatures(rows, symbol, take));
            progress.update(at + 1);
          }
          const whole = await file.finish();
          await file.publish();
          return whole;
        } catch (error) {
          await file.discard();
          throw error;
        } finally {
          await file.close();
        }
      });
      say(command, options, written.rows, compared);
    } finally {
      progress.stop();
      await store.aclose();
    }
  });
}

function say(
  command: Command,
  { output, json }: FeatureArguments,
  rows: number,
  compared: readonly Comparison[],
): void {
  const print = printOf(command);
  const equal = compared.reduce((sum, { equalHours }) => sum + equalHours, 0);
  const differing = compared.flatMap(({ symbol, differingHours }) =>
    differingHours.map((hour) => `${symbol} ${hour}`),
  );
  if (json === true) {
    const symbols = compared.map(({ symbol, rows: count, equalHours, differingHours, seenRows }) => ({
      symbol,
      rows: count,
      seen_rows: seenRows,
      equal_hours: equalHours,
      differing_hours: differingHours,
    }));
    print(JSON.stringify({ output, rows, symbols }));
  } else {
    print(`${rows} rows of ${compared.length} symbols in ${output}`);
    if (equal + differing.length === 0)
      print('the inference has seen nothing of this range: there is nothing to compare with');
    else
      print(
        `equal to what the inference saw live in ${equal} hours of symbols, different in ${differing.length}`,
      );
    for (const each of differing) print(`  ${each}`);
  }
  if (differing.length > 0) process.exitCode = EXIT_FAILED;
}
