import { Option, type Command } from 'commander';
import type { FormName } from '../../../core/export/format.ts';
import type { PartitionKey } from '../../../core/export/layout.ts';
import { parseManifest, type Manifest } from '../../../core/export/manifest.ts';
import {
  CHAIN_TABLES,
  type ChainTable,
  type Dataset,
  type ExportRequest,
  type RunChoice,
} from '../../../core/export/request.ts';
import { formatMicros, parseIsoMicros } from '../../../core/time.ts';
import { runExport, type ExportReport } from '../../../serve/export/exporter.ts';
import { openTarget } from '../../../serve/export/targets/open.ts';
import { StoreClient } from '../../../store/store-client.ts';
import { hasS3Endpoint } from '../../config/load.ts';
import { EXIT_FAILED } from '../../exit-codes.ts';
import { watchSignals } from '../../signals.ts';
import { endWithUsage, nameOf } from '../arguments.ts';
import { databaseFailure, NoDatabaseError, withServerUrl } from '../database.ts';
import { symbolList, time } from '../market-arguments.ts';
import { startProgress, type Progress } from '../progress.ts';
import { printOf } from '../text.ts';
import { FORMAT_OPTION, formOfOutput, intervalList, partitionKeys, runChoice } from './arguments.ts';
import type { ExportEnvironment } from './environment.ts';

interface TableArguments {
  provider?: string;
  symbols?: string[];
  start: bigint;
  end: bigint;
  interval?: string[];
  runId?: RunChoice;
  table?: ChainTable;
  output: string;
  format?: FormName;
  excelSafe?: true;
  incremental?: true;
  asOf?: string;
  partitionBy?: PartitionKey[];
  json?: true;
}

const DESCRIPTIONS: Readonly<Record<Dataset, string>> = {
  ticks: 'market ticks (tick_data)',
  bars: 'bars (bars_ohlcv, or bars_replay of a replay)',
  signals: 'signals',
  chain: 'the chain: its ticks, proofs or transactions',
};

/** `mdp export ticks|bars|signals|chain`. */
export function registerTables(exports: Command, env: ExportEnvironment): void {
  for (const dataset of ['ticks', 'bars', 'signals', 'chain'] as const) {
    const command = exports.command(dataset).description(DESCRIPTIONS[dataset]);
    if (dataset !== 'chain') {
      command
        .requiredOption('--provider <name>', 'the provider')
        .addOption(
          new Option(
            '--symbols <list>',
            'symbols, separated by commas (default: all that the provider has)',
          ).argParser(symbolList),
        );
    } else
      command.addOption(
        new Option('--table <name>', 'which table').choices([...CHAIN_TABLES]).default('ticks'),
      );
    command
      .requiredOption('--start <time>', 'ISO-8601, UTC without a zone: the first time of a row', time)
      .requiredOption('--end <time>', 'ISO-8601: the end, itself excluded', time);
    if (dataset === 'bars')
      command.addOption(
        new Option('--interval <list>', 'lengths of the bars, separated by commas')
          .argParser(intervalList)
          .default(['1m'], '1m'),
      );
    if (dataset === 'bars' || dataset === 'signals')
      command.addOption(
        new Option('--run-id <run>', 'of a replay by its number, live, or all')
          .argParser(runChoice)
          .default('live'),
      );
    command
      .requiredOption(
        '--output <place>',
        'a path, s3://BUCKET/KEY or gs://BUCKET/KEY, ending in .csv, .csv.gz, .csv.zst or .parquet; a folder with --partition-by. Parents are created',
      )
      .addOption(FORMAT_OPTION)
      .option('--excel-safe', "texts that a spreadsheet would compute (= + - @) get a ' in front (CSV)");
    if (dataset !== 'chain')
      command
        .option('--incremental', 'only the rows since the last export to --output, as a further part')
        .option(
          '--as-of <what>',
          'the rows as they were: the manifest of an export (a path), or a time (ISO-8601)',
        );
    command
      .addOption(
        new Option(
          '--partition-by <keys>',
          'day, symbol or day,symbol: files below folders such as day=2025-11-03/symbol=NVDA',
        ).argParser(partitionKeys),
      )
      .option('--json', 'one JSON object (default: text)')
      .addHelpText('after', helpOf(dataset))
      .action((options: TableArguments, self: Command) => run(self, dataset, options, env));
  }
}

const EXAMPLES: Readonly<Record<Dataset, string>> = {
  ticks: `--provider ibkr --symbols NVDA,AAPL --start 2025-11-03T14:00:00 \\
      --end 2025-11-03T15:00:00 --output exports/ticks/ibkr_2025110314.csv`,
  bars: `--provider ibkr --symbols NVDA,AAPL --start 2025-11-03 --end 2025-11-04 \\
      --interval 1m --output exports/bars/ibkr_1m_20251103.parquet`,
  signals: `--provider ibkr --symbols NVDA,AAPL --start 2025-11-03 --end 2025-11-04 \\
      --run-id 42 --output exports/signals/ibkr_20251103.csv.gz`,
  chain: `--table tick_transactions --start 2025-11-03 --end 2025-11-04 --output chain/20251103.parquet`,
};

function helpOf(dataset: Dataset): string {
  return `
Example:
  $ mdp export ${dataset} ${EXAMPLES[dataset]}

Rows come from one snapshot of the database, by time and key. A file is written aside and renamed, so it is there whole or not at
all; what was there under its name is replaced. Beside it is OUTPUT.manifest.json (_manifest-0000.json in a partitioned folder): rows,
times, SHA-256, schema and the snapshot. Columns and formats: docs/export.md. Progress is on stderr; Ctrl-C gives up, and leaves nothing.
Buckets: credentials and endpoints are found as by every program of AWS (AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL) and Google
(GOOGLE_APPLICATION_CREDENTIALS).

Exit codes: 0 done, 1 failed or given up, 2 a mistake in the command line or the configuration.
The database is named by READ_DATABASE_URL or DATABASE_URL (no default). The run is a row of job_runs (tick_export) in DATABASE_URL.`;
}

async function run(
  command: Command,
  dataset: Dataset,
  options: TableArguments,
  env: ExportEnvironment,
): Promise<void> {
  const { start, end, output, partitionBy = [] } = options;
  if (start >= end) endWithUsage(command, '--start is not before --end');
  if (options.incremental === true && options.asOf !== undefined)
    endWithUsage(command, '--incremental and --as-of exclude each other');
  if (dataset === 'chain' && partitionBy.includes('symbol'))
    endWithUsage(command, '--partition-by: the chain has no symbols');
  const isFolder = partitionBy.length > 0;
  const form = formOfOutput(options.format, output, isFolder);
  if (form === null)
    endWithUsage(
      command,
      `the ending of ${output} names no format: .csv, .csv.gz, .csv.zst, .parquet, or --format`,
    );
  if (options.excelSafe === true && form === 'parquet') endWithUsage(command, '--excel-safe is for CSV');
  const request = requestOf(dataset, options);
  try {
    const { target, name } = await openTarget(output, { isFolder, isPathStyle: hasS3Endpoint() });
    const asOf = options.asOf === undefined ? null : await asOfOf(command, options.asOf);
    const layout = { name, form, partitionBy };
    const report = await withServerUrl(env.databaseUrl, (readUrl) =>
      withJobs(env, readUrl, (jobs) =>
        withProgress(env, (shown) =>
          runExport({
            databaseUrl: readUrl,
            applicationName: nameOf(command),
            jobRuns: jobs.jobRuns,
            clock: env.clock,
            request,
            target,
            layout,
            isForSpreadsheets: options.excelSafe === true,
            isIncremental: options.incremental === true,
            asOf,
            ...shown,
          }),
        ),
      ),
    );
    say(command, options, target.address(name ?? ''), report);
  } catch (error) {
    if (error instanceof NoDatabaseError) endWithUsage(command, error.message);
    command.error(`${nameOf(command)}: ${databaseFailure(error)}`, { exitCode: EXIT_FAILED });
  }
}

function requestOf(dataset: Dataset, options: TableArguments): ExportRequest {
  const {
    provider = null,
    symbols = null,
    start,
    end,
    interval = [],
    runId = 'live',
    table = 'ticks',
  } = options;
  return { dataset, provider, symbols, start, end, intervals: interval, run: runId, table };
}

/** A time, or the manifest at a path or in a bucket. */
async function asOfOf(command: Command, text: string): Promise<Manifest | bigint> {
  let micros: bigint | null = null;
  try {
    micros = parseIsoMicros(text);
  } catch {
    // the name of a file then
  }
  if (micros !== null) return micros;
  const { target, name } = await openTarget(text, { isFolder: false, isPathStyle: hasS3Endpoint() });
  const found = await target.read(name ?? '');
  if (found === null)
    endWithUsage(command, `--as-of ${text}: there is no such manifest, and it is not a time`);
  return parseManifest(found.toString('utf8'), text);
}

/** Runs are recorded where rows may be written: READ_DATABASE_URL may be a replica. */
async function withJobs<T>(
  env: ExportEnvironment,
  readUrl: string,
  work: (store: StoreClient) => Promise<T>,
): Promise<T> {
  const named = env.jobsDatabaseUrl ?? '';
  const on = async (dbUri: string): Promise<T> => {
    const store = new StoreClient({ dbUri, applicationName: 'mdp export' });
    try {
      return await work(store);
    } finally {
      await store.aclose();
    }
  };
  return named === '' || named === env.databaseUrl ? on(readUrl) : withServerUrl(named, on);
}

const US_PER_MINUTE = 60_000_000n;

interface Shown {
  onExtent: (from: bigint, to: bigint) => void;
  onProgress: (rows: number, at: bigint | null) => void;
  stopping: AbortSignal;
}

/** Progress in minutes of event time, and an end by Ctrl-C. */
async function withProgress<T>(env: ExportEnvironment, work: (shown: Shown) => Promise<T>): Promise<T> {
  const stopping = new AbortController();
  const { first } = watchSignals({ second: () => process.exit(EXIT_FAILED) });
  void first.then(() => stopping.abort());
  let progress = null as Progress | null;
  let began = 0n;
  try {
    return await work({
      stopping: stopping.signal,
      onExtent: (from, to) => {
        began = from;
        progress = startProgress(
          'exporting',
          'minutes of data',
          Number((to - from) / US_PER_MINUTE) + 1,
          env.clock,
        );
      },
      onProgress: (_, at) => {
        if (at !== null) progress?.update(Number((at - began) / US_PER_MINUTE));
      },
    });
  } finally {
    progress?.stop();
  }
}

function say(
  command: Command,
  { json, start, end }: TableArguments,
  output: string,
  { runId, manifest, address, rows }: ExportReport,
): void {
  const print = printOf(command);
  if (json === true) {
    const range = { start: formatMicros(start), end: formatMicros(end) };
    const files = manifest?.files ?? [];
    print(JSON.stringify({ run_id: runId, output, rows, ...range, manifest: address, files }));
    return;
  }
  if (manifest === null) {
    print(`nothing came since the last export to ${output}: no file was written`);
    return;
  }
  const { files } = manifest;
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  const where =
    files.length === 1 && manifest.options.partition_by.length === 0 ? '' : ` in ${files.length} files`;
  print(
    `${rows} rows, ${bytes} bytes${where}: ${output}${manifest.part === 0 ? '' : `, part ${manifest.part}`}`,
  );
  if (files.length === 1) print(`sha256 ${files[0].sha256}`);
  print(`manifest ${address}`);
}
