import { InvalidArgumentError, type Command } from 'commander';
import type { Client } from 'pg';
import { parseIsoMicros, type Clock } from '../../../core/time.ts';
import { sqlstateOf } from '../../../store/postgres/sqlstate.ts';
import { NothingRecordedError, readQuality, type QualityReport } from '../../../store/quality/report.ts';
import type { QualityBound } from '../../../store/quality/range.ts';
import { startProgress, type Progress } from '../progress.ts';
import { endWithUsage, wholeBigint } from '../arguments.ts';
import { runOnDatabase } from '../database.ts';
import type { Print } from '../text.ts';
import { problemsOf, qualityJson, qualityLines } from './quality-output.ts';

const APPLICATION = 'mdp quality';
/** serialization_failure: of a transaction that only reads, a standby that has to apply what its snapshot still needs */
const RECOVERY_CONFLICT = '40001';
const CONFLICT_REMEDY =
  'Try again with a shorter range (--from, --to), ask the primary, or set hot_standby_feedback = on or a longer max_standby_streaming_delay on the standby';

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
      if (isReversed(options)) endWithUsage(command, '--from lies beyond --to');
      await runOnDatabase(command, env.databaseUrl, APPLICATION, (client, print) =>
        judge(client, options, env.clock, print),
      );
    });
}

const HELP = `
Examples:
  $ mdp quality --from 541000000 --to 541999999 --json | jq .problems
  $ mdp quality --from 2025-08-23 --to 2025-08-24T00:00:00Z

What retention has dropped (RETENTION_CHAIN) is not looked for: a range begins at the lowest tick kept.
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

async function judge(
  client: Client,
  options: QualityArguments,
  clock: Clock,
  print: Print,
): Promise<string | null> {
  let report: QualityReport;
  try {
    report = await read(client, options, clock);
  } catch (error) {
    if (sqlstateOf(error) === RECOVERY_CONFLICT) return `${(error as Error).message}. ${CONFLICT_REMEDY}`;
    if (!(error instanceof NothingRecordedError)) throw error;
    return `${error.message}. Name another range or another database, or start the ingester`;
  }
  const lines = options.json === true ? [JSON.stringify(qualityJson(report))] : qualityLines(report);
  for (const line of lines) print(line);
  const problems = problemsOf(report);
  return problems.length === 0 ? null : `found ${problems.join(', ')}`;
}

async function read(client: Client, options: QualityArguments, clock: Clock): Promise<QualityReport> {
  let progress = null as Progress | null;
  try {
    return await readQuality(client, {
      from: options.from ?? null,
      to: options.to ?? null,
      hashes: options.hashes,
      onProgress: (done, total) => {
        progress ??= startProgress('checking', 'ticks', Number(total), clock);
        progress.update(Number(done));
      },
    });
  } finally {
    progress?.stop();
  }
}
