import { availableParallelism } from 'node:os';
import { InvalidArgumentError, Option, type Command } from 'commander';
import type { TickRange } from '../../../core/ingest/ranges.ts';
import type { VdfMode } from '../../../core/chain/verify/page.ts';
import { systemClock } from '../../../core/time.ts';
import { readExtent, type Extent } from '../../../store/chain/overview.ts';
import { startProgress } from '../progress.ts';
import { verifyStored } from '../../verify/verify.ts';
import { EXIT_FAILED, EXIT_USAGE } from '../../exit-codes.ts';
import { tickNumber } from '../arguments.ts';
import { firstBad, firstBadLine, toJson, toText, type Verdict } from './verify-output.ts';
import { databaseFailure, withDatabase } from '../database.ts';

/** each has two sessions */
const THREADS_MAX = 16;

interface VerifyArguments {
  from?: bigint;
  to?: bigint;
  vdf: VdfMode;
  threads: number;
  json?: true;
}

export interface VerifyEnvironment {
  /** READ_DATABASE_URL when it is set, else DATABASE_URL */
  databaseUrl: string | undefined;
  /** SERVICE_NAME */
  serviceName: string;
}

/** An impossible range: empty, or beginning before the chain. */
class UsageError extends Error {}

const HELP = `
Exit codes: 0 all ticks of the range are stored and true, 1 some are not (the first one is named with its kind) or the
database cannot be read, 2 bad usage. A tick that is not stored counts as missing whatever the reason; gaps that are
open, unfillable or skipped by an operator, and dead letters, are counted each by itself.

Kinds: missing, tx_hash, batch_hash, link (previous_output against the output of the tick before), vdf_input,
vdf_output, vdf_unverifiable (more than 10^6 iterations).
No formula reaches, so nothing can be said of: proof, ingestion_timestamp, the timestamp of a tick without
transactions, and a sequence_number beyond the order it gives. With --vdf off the output of the last tick of the range
is not looked at, nor are iterations.

Example:
  $ tick-ingester verify --from 541409765 --to 541509765 --vdf sample:0.01 --json | jq .kinds

Reads READ_DATABASE_URL, or DATABASE_URL when that is not set (environment or .env.ingester), in short snapshots.`;

/** `tick-ingester verify`: is the stored chain complete and correct? Read-only; the daemon need not be running. */
export function registerVerify(program: Command, environment: () => VerifyEnvironment): void {
  program
    .command('verify')
    .description('recompute links, hashes and VDF outputs of what is stored, and find ticks that are missing')
    .option(
      '--from <tick>',
      'first tick (default: the first one ever received, or kept by retention)',
      tickNumber,
    )
    .option('--to <tick>', 'last tick (default: the position, the end of what is recorded)', tickNumber)
    .addOption(
      new Option(
        '--vdf <which>',
        'outputs to recompute, about 50 us of a core each: all, off, or sample:SHARE such as sample:0.01, which takes ' +
          'that share of the ticks, always the same ones',
      )
        .argParser(vdfMode)
        .default({ kind: 'all' }, 'all'),
    )
    .addOption(
      new Option('--threads <count>', `1 to ${THREADS_MAX}, each with two sessions`)
        .argParser(threadCount)
        .default(Math.min(availableParallelism(), THREADS_MAX), 'one a core'),
    )
    .option('--json', 'one JSON object on stdout (default: text)')
    .addHelpText('after', HELP)
    .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : EXIT_USAGE))
    .action(async (args: VerifyArguments) => process.exit(await run(args, environment())));
}

/** Resolves with the exit code; all output is written by then. */
async function run(args: VerifyArguments, environment: VerifyEnvironment): Promise<number> {
  const applicationName = `${environment.serviceName} verify`;
  let verdict: Verdict;
  try {
    verdict = await withDatabase(environment.databaseUrl, applicationName, async (client, databaseUrl) =>
      verify(args, { databaseUrl, applicationName }, await readExtent(client)),
    );
  } catch (error) {
    const isUsage = error instanceof UsageError;
    say(isUsage ? error.message : databaseFailure(error));
    return isUsage ? EXIT_USAGE : EXIT_FAILED;
  }
  process.stdout.write(args.json === true ? toJson(verdict) : toText(verdict));
  const bad = firstBad(verdict);
  if (bad === null) return 0;
  say(firstBadLine(bad));
  return EXIT_FAILED;
}

async function verify(
  { from, to, vdf, threads }: VerifyArguments,
  database: { databaseUrl: string; applicationName: string },
  extent: Extent,
): Promise<Verdict> {
  const range = resolveRange(from, to, extent);
  const total = Number(range.last - range.first) + 1;
  const beganMs = systemClock.monotonicMs();
  const progress = startProgress('verifying', 'ticks', total, systemClock);
  try {
    const { position } = extent;
    const report = await verifyStored({
      ...database,
      range,
      vdf,
      position,
      threads,
      progress: (done) => progress.update(done),
    });
    return { range, vdf, report, seconds: (systemClock.monotonicMs() - beganMs) / 1000 };
  } finally {
    progress.stop();
  }
}

function resolveRange(
  from: bigint | undefined,
  to: bigint | undefined,
  { floor, position }: Extent,
): TickRange {
  const first = from ?? floor;
  const last = to ?? position;
  if (first === null || last === null) {
    throw new Error('nothing is recorded yet in this database: run tick-ingester, or name --from and --to');
  }
  if (floor !== null && first < floor) {
    throw new UsageError(`--from ${first} is below ${floor}, the first tick that this database answers for`);
  }
  if (last < first) throw new UsageError(`--to ${last} is below --from ${first}`);
  return { first, last };
}

function say(line: string): void {
  process.stderr.write(`tick-ingester verify: ${line}\n`);
}

function vdfMode(text: string): VdfMode {
  if (text === 'all' || text === 'off') return { kind: text };
  const share = /^sample:(\d*\.?\d+)$/.exec(text)?.[1];
  const value = Number(share ?? 0);
  if (!(value > 0 && value <= 1)) {
    throw new InvalidArgumentError('It is all, off, or sample:SHARE with a share above 0 up to 1.');
  }
  return { kind: 'sample', share: value };
}

function threadCount(text: string): number {
  const count = /^\d{1,2}$/.test(text) ? Number(text) : 0;
  if (count < 1 || count > THREADS_MAX) throw new InvalidArgumentError(`It is 1 to ${THREADS_MAX}.`);
  return count;
}
