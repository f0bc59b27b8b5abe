import { createWriteStream, type WriteStream } from 'node:fs';
import { once } from 'node:events';
import type { Command } from 'commander';
import type { FormName } from '../../../core/export/format.ts';
import { upperCased } from '../../../core/market/identity/symbol.ts';
import { providersOf } from '../../../core/market/identity/providers.ts';
import type { Clock } from '../../../core/time.ts';
import { importTicks, type BadRow, type ImportReport } from '../../../serve/import/importer.ts';
import { StoreClient } from '../../../store/store-client.ts';
import { EXIT_FAILED } from '../../exit-codes.ts';
import { watchSignals } from '../../signals.ts';
import { nameOf, wholeNumber } from '../arguments.ts';
import { withServerUrl } from '../database.ts';
import { FORMAT_OPTION } from '../export/arguments.ts';
import { runStreaming } from '../stream/commands.ts';
import { printable, printOf } from '../text.ts';

export interface ImportEnvironment {
  databaseUrl?: string | undefined;
  clock: Clock;
}

interface ImportArguments {
  provider?: string;
  symbol?: string;
  format?: FormName;
  badMax: number;
  rejects?: string;
  anew?: true;
  json?: true;
  config?: string;
}

/** bad rows that are shown one by one */
const SHOWN_MAX = 20;
const SAY_EVERY_MS = 5000;

/** `mdp import ticks`: files back into tick_data. */
export function registerImport(program: Command, env: ImportEnvironment): void {
  const imports = program.command('import').description('files into the database');
  imports
    .command('ticks')
    .description('market ticks of CSV and Parquet files into tick_data, each once')
    .argument('<file...>', 'files as mdp export ticks writes them')
    .option('--provider <name>', 'the provider, where a file has no such column')
    .option('--symbol <name>', 'the symbol, where a file has no such column', upperCased)
    .addOption(FORMAT_OPTION)
    .option('--bad-max <count>', 'more bad rows in a file end the import', wholeNumber, 1000)
    .option('--rejects <file>', 'a CSV file that gets every bad row: file, line, column, cause')
    .option('--anew', 'begin at the first row although a run of the same file was interrupted')
    .option('--config <file>', 'the configuration (default: STREAMING_CONFIG, or configs/streaming.yaml)')
    .option('--json', 'one JSON object a file (default: text)')
    .addHelpText('after', HELP)
    .action((files: string[], options: ImportArguments, command: Command) =>
      run(command, files, options, env),
    );
}

const HELP = `
Example:
  $ mdp import ticks exports/ticks/ibkr_2025110314.csv exports/2025-11/*.parquet

A file has the columns provider, symbol, ts and price, and may have size, bid, ask, side and seq; created_at is ignored. ts is ISO-8601
(UTC without a zone), side 1, -1, buy or sell. Folders named symbol=NVDA stand for a column. Files: .csv, .csv.gz, .csv.zst, .parquet.
A tick that is stored already is counted as known; one with another content, and a row that is none, is bad: it is named with its line
and column, and the others are stored. The run is a row of job_runs (tick_import). After an interruption the same command goes on where
it was. Bars of the range: mdp bars rebuild.

Exit codes: 0 done, 1 failed, stopped, or some rows were bad, 2 a mistake in the command line or the configuration.
The database is named by DATABASE_URL (no default).`;

async function run(
  command: Command,
  files: readonly string[],
  options: ImportArguments,
  { databaseUrl, clock }: ImportEnvironment,
): Promise<void> {
  const stopping = new AbortController();
  const { first } = watchSignals({ second: () => process.exit(EXIT_FAILED) });
  void first.then(() => stopping.abort());
  const { provider, symbol } = options;
  const given = {
    ...(provider === undefined ? {} : { provider }),
    ...(symbol === undefined ? {} : { symbol }),
  };
  await runStreaming(command, async (config) => {
    const bad = new BadRows(options.rejects);
    try {
      await withServerUrl(databaseUrl, async (dbUri) => {
        const store = new StoreClient({ dbUri, applicationName: nameOf(command) });
        try {
          for (const path of files) {
            let saidMs = clock.monotonicMs();
            const report = await importTicks({
              store,
              providers: providersOf(config.providers),
              clock,
              path,
              form: options.format ?? null,
              given,
              anew: options.anew === true,
              badMax: options.badMax,
              onBad: (row) => bad.take(row),
              onProgress(rows) {
                if (clock.monotonicMs() - saidMs < SAY_EVERY_MS) return;
                saidMs = clock.monotonicMs();
                process.stderr.write(`importing ${path}: ${rows} rows stored\n`);
              },
              stopping: stopping.signal,
            });
            say(command, path, options, report);
          }
        } finally {
          await store.aclose();
        }
      });
    } finally {
      await bad.close();
    }
    if (bad.count > 0) process.exitCode = EXIT_FAILED;
  });
}

/** Names bad rows: the first ones on stderr, all of them in a file. */
class BadRows {
  readonly #file: WriteStream | null;
  count = 0;

  constructor(path: string | undefined) {
    this.#file = path === undefined ? null : createWriteStream(path);
    this.#file?.write('file,line,column,cause\n');
  }

  take({ file, line, column, cause }: BadRow): void {
    this.count += 1;
    const where = column === null ? '' : `column ${column}: `;
    if (this.count <= SHOWN_MAX) process.stderr.write(`${file}:${line}: ${where}${printable(cause)}\n`);
    else if (this.count === SHOWN_MAX + 1)
      process.stderr.write('further bad rows are not shown (--rejects FILE)\n');
    const quoted = [file, String(line), column ?? '', cause].map((text) => `"${text.replaceAll('"', '""')}"`);
    this.#file?.write(`${quoted.join(',')}\n`);
  }

  async close(): Promise<void> {
    if (this.#file === null) return;
    this.#file.end();
    await once(this.#file, 'close');
  }
}

function say(command: Command, path: string, { json }: ImportArguments, report: ImportReport): void {
  const print = printOf(command);
  const { runId, resumed, rows, stored, known, bad } = report;
  if (json === true) print(JSON.stringify({ run_id: runId, resumed, input: path, rows, stored, known, bad }));
  else
    print(
      `${path}: ${rows} rows, ${stored} stored, ${known} known already, ${bad} bad (run ${runId}${resumed ? ', resumed' : ''})`,
    );
}
