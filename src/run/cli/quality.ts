import { Bar, Presets } from 'cli-progress';
import { InvalidArgumentError, type Command } from 'commander';
import { parseIsoMicros, type Clock } from '../../core/time.ts';
import {
  NothingRecordedError,
  readQuality,
  type QualityOptions,
  type QualityReport,
} from '../../store/quality.ts';
import type { QualityBound } from '../../store/quality-range.ts';
import { EXIT_PROBLEM, EXIT_USAGE, wholeBigint } from './arguments.ts';
import { problemsOf, qualityJson, qualityLines } from './quality-report.ts';
import { databaseFailure, withDatabase } from './with-database.ts';

const APPLICATION = 'mdp quality';
/** between two lines of progress where there is no terminal, ms */
const PROGRESS_MS = 5_000;

export interface QualityEnvironment {
  /** READ_DATABASE_URL, or DATABASE_URL where that is not set */
  databaseUrl?: string | undefined;
  clock: Clock;
}

interface QualityArguments {
  from?: QualityBound;
  to?: QualityBound;
  hashes: boolean;
  json?: true;
}

/** `mdp quality`: is a range of the stored chain complete and consistent? */
export function registerQuality(program: Command, env: QualityEnvironment): void {
  program
    .command('quality')
    .description(
      'check that the stored chain is complete and fits together: expected against stored, gaps, duplicates, conflicts, ' +
        'dead letters, links, hashes. Reads alone, in one snapshot; the ingester may run meanwhile',
    )
    .option(
      '--from <tick|time>',
      'first tick number, or ISO-8601 time (default: the first tick ever received)',
      bound,
    )
    .option(
      '--to <tick|time>',
      'last tick number, itself included, or ISO-8601 time, itself excluded (default: the position)',
      bound,
    )
    .option('--no-hashes', 'do not recompute tx_hash, batch_hash and vdf_input (default: recompute them)')
    .option('--json', 'one JSON object on stdout (default: tables)')
    .addHelpText('after', HELP)
    .action(async (options: QualityArguments, command: Command) => {
      if (isReversed(options)) {
        command.error('mdp quality: --from lies beyond --to', { exitCode: EXIT_USAGE });
      }
      const report = await read(env, options, command);
      const lines = options.json === true ? [JSON.stringify(qualityJson(report))] : qualityLines(report);
      const output = command.configureOutput();
      for (const line of lines) output.writeOut?.(`${line}\n`);
      const problems = problemsOf(report);
      if (problems.length > 0) {
        command.error(`mdp quality: found ${problems.join(', ')}`, { exitCode: EXIT_PROBLEM });
      }
    });
}

const HELP = `
Examples:
  $ mdp quality --from 541000000 --to 541999999 --json | jq .problems
  $ mdp quality --from 2025-08-23 --to 2025-08-24T00:00:00Z

A time without a zone is UTC. By time the range holds every tick of [from, to) and also what is missing at its bounds.

Problems (exit code 1): ticks missing in an open gap, as an open dead letter, not recorded (asked for by number outside
of what was received) or without any explanation; a number stored twice, or stored although a gap covers it; a tick
without its proof, a proof or a transaction without its tick; a broken link, or one that cannot be told; a hash that
does not follow from what is stored; alarms of CHAIN_CHECK; open conflicts.
Information (exit code 0): gaps that are unfillable or skipped, timestamps that go backwards, dead letters that are
resolved, and frames without a usable number (the tick that is missing for it is a gap).
VDF outputs are recomputed by "tick-ingester verify".

Exit codes: 0 good, 1 problems or failed, 2 a mistake in the command line.
The database is named by READ_DATABASE_URL or, without it, by DATABASE_URL (no default).`;

/** 9999-12-31T23:59:59.999999Z */
const LATEST_MICROS = 253_402_300_799_999_999n;

function bound(text: string): QualityBound {
  if (/^\d+$/.test(text)) return { tick: wholeBigint(text) };
  let micros: bigint;
  try {
    micros = parseIsoMicros(text);
  } catch (error) {
    throw new InvalidArgumentError(`Neither a tick number nor a time: ${(error as Error).message}.`);
  }
  if (micros < 0n || micros > LATEST_MICROS)
    throw new InvalidArgumentError('Expected a year from 1970 to 9999.');
  return { micros };
}

function isReversed({ from, to }: QualityArguments): boolean {
  if (from === undefined || to === undefined) return false;
  if ('tick' in from && 'tick' in to) return from.tick > to.tick;
  return 'micros' in from && 'micros' in to && from.micros > to.micros;
}

async function read(
  env: QualityEnvironment,
  options: QualityArguments,
  command: Command,
): Promise<QualityReport> {
  const progress = new Progress(env.clock);
  try {
    const wanted: QualityOptions = {
      from: options.from ?? null,
      to: options.to ?? null,
      hashes: options.hashes,
      onProgress: (done, total) => progress.update(done, total),
    };
    return await withDatabase(env.databaseUrl, APPLICATION, (client) => readQuality(client, wanted));
  } catch (error) {
    progress.stop();
    const advice = 'Name another range or another database, or start the ingester';
    const said =
      error instanceof NothingRecordedError ? `${error.message}. ${advice}` : databaseFailure(error);
    command.error(`mdp quality: ${said}`, { exitCode: EXIT_PROBLEM });
  } finally {
    progress.stop();
  }
}

/** On stderr: a bar on a terminal, elsewhere a line every few seconds. */
class Progress {
  readonly #clock: Clock;
  readonly #bar: Bar | null;
  #saidMs: number;
  #isStarted = false;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#saidMs = clock.monotonicMs();
    this.#bar = process.stderr.isTTY
      ? new Bar(
          { format: 'checking |{bar}| {percentage} %, {eta} s left', clearOnComplete: true },
          Presets.legacy,
        )
      : null;
  }

  update(done: bigint, total: bigint): void {
    const permille = Number((done * 1000n) / total);
    if (this.#bar === null) {
      if (this.#clock.monotonicMs() - this.#saidMs < PROGRESS_MS) return;
      this.#saidMs = this.#clock.monotonicMs();
      process.stderr.write(`checked ${done} of ${total} ticks\n`);
    } else if (this.#isStarted) this.#bar.update(permille);
    else {
      this.#bar.start(1000, permille);
      this.#isStarted = true;
    }
  }

  stop(): void {
    if (this.#isStarted) this.#bar?.stop();
    this.#isStarted = false;
  }
}
