import type { Command } from 'commander';
import { CLOCK_DIFFERENCE_MS_MAX } from '../../../core/server-clock.ts';
import { systemClock } from '../../../core/time.ts';
import { latestTick } from '../../../ingest/sequencer/connection.ts';
import { readOverview, type Overview } from '../../../store/chain/overview.ts';
import type { Config } from '../../config/load.ts';
import { databaseUrlOf } from '../../config/addresses.ts';
import { runOnDatabase } from '../database.ts';

interface StatusArguments {
  json?: true;
}

/** The sequencer's head, or why it is not known. */
type Head = { head: string } | { unknown: string };

/** `tick-ingester status`: what is stored, what is missing, who writes. Read-only; the daemon need not be running. */
export function registerStatus(program: Command, loadConfig: () => Config): void {
  program
    .command('status')
    .description('show position, complete_up_to, head, lag, gaps, dead letters, leader and edition')
    .option('--json', 'one JSON object on stdout (default: text)')
    .addHelpText(
      'after',
      `
Example:
  $ tick-ingester status --json | jq .position

Reads DATABASE_URL and, for head and lag, CONTINUUM_GRPC_URL (environment or .env.ingester).`,
    )
    .action(async (options: StatusArguments, command: Command) => {
      const config = loadConfig();
      const head = await readHead(config);
      const applicationName = `${config.serviceName} status`;
      await runOnDatabase(command, databaseUrlOf(config.database), applicationName, async (client, print) => {
        const overview = await readOverview(client);
        const aheadMs = Number(systemClock.nowMicros() - overview.nowMicros) / 1000;
        print(options.json === true ? toJson(overview, head, aheadMs) : toText(overview, head, aheadMs));
        return null;
      });
      process.exit(0);
    });
}

async function readHead({ grpc, grpcMaxMessageBytes }: Config): Promise<Head> {
  if (grpc === null) return { unknown: 'CONTINUUM_GRPC_URL is not set' };
  const source = { target: grpc.address, tls: grpc.tls, messageBytesMax: grpcMaxMessageBytes };
  try {
    const head = await latestTick(source, systemClock);
    return { head: head.toString() };
  } catch (error) {
    return { unknown: `the sequencer does not answer: ${(error as Error).message}` };
  }
}

function lagTicks(overview: Overview, head: Head): string | null {
  if ('unknown' in head || overview.position === null) return null;
  return (BigInt(head.head) - BigInt(overview.position)).toString();
}

function toJson(overview: Overview, head: Head, aheadMs: number): string {
  const shape = {
    chain_id: overview.chainId,
    origin: overview.origin,
    position: overview.position,
    complete_up_to: overview.completeUpTo,
    floor: overview.floor,
    head: 'head' in head ? head.head : null,
    lag_ticks: lagTicks(overview, head),
    newest_timestamp: overview.newestTimestamp,
    gaps: overview.gaps,
    open_gaps: overview.openGaps,
    dead_letters: overview.deadLetters,
    halt: overview.halt,
    leader: overview.leader,
    edition: overview.edition,
    clock_ahead_seconds: Math.round(aheadMs / 1000),
  };
  return JSON.stringify(shape);
}

function openGapText({
  first,
  last,
  attempts,
  lastError,
  nextAttempt,
}: Overview['openGaps'][number]): string {
  const tried = `open ${first}..${last}, tried in vain ${attempts} times`;
  return lastError === null ? tried : `${tried}: ${lastError} (again at ${nextAttempt})`;
}

/** Where the clocks agree no line is needed. */
function clockText(aheadMs: number): string {
  const difference = `${Math.round(Math.abs(aheadMs) / 1000)} s ${aheadMs > 0 ? 'ahead of' : 'behind'}`;
  return `this machine is ${difference} the database, whose clock is used: set it right`;
}

function toText(overview: Overview, head: Head, aheadMs: number): string {
  const lag = lagTicks(overview, head);
  const lines: [string, string][] = [
    ['chain', overview.chainId ?? 'none yet'],
    ['origin', overview.origin ?? 'none yet'],
    ['position', overview.position ?? 'none yet'],
    ['complete up to', overview.completeUpTo ?? 'none yet'],
    ...(overview.floor === null
      ? []
      : [['kept from', `${overview.floor}: what is below was dropped by retention`] as [string, string]]),
    ['head', 'head' in head ? head.head : `unknown (${head.unknown})`],
    ['lag', lag === null ? 'unknown' : `${lag} ticks`],
    ['newest tick', overview.newestTimestamp ?? 'none yet'],
    [
      'gaps',
      overview.gaps.map(({ state, ranges, ticks }) => `${ranges} ${state} (${ticks} ticks)`).join(', ') ||
        'none',
    ],
    ...overview.openGaps.map((gap): [string, string] => ['', openGapText(gap)]),
    [
      'dead letters',
      overview.deadLetters.map(({ count, status, reason }) => `${count} ${reason} (${status})`).join(', ') ||
        'none',
    ],
    [
      'halted',
      overview.halt === null
        ? 'no'
        : `${overview.halt.kind}: ${overview.halt.reason}, since ${overview.halt.since}. To go on: tick-ingester resume --accept ${overview.halt.kind}`,
    ],
    [
      'leader',
      overview.leader === null
        ? 'none yet'
        : `${overview.leader.holder}, epoch ${overview.leader.epoch}, ${overview.leader.live ? 'lease runs' : 'lease over'}`,
    ],
    [
      'database',
      `PostgreSQL ${overview.edition.postgres}, ${overview.edition.timescale === null ? 'without TimescaleDB' : `TimescaleDB ${overview.edition.timescale}`} (edition ${overview.edition.edition})`,
    ],
    ...(Math.abs(aheadMs) > CLOCK_DIFFERENCE_MS_MAX
      ? [['clock', clockText(aheadMs)] as [string, string]]
      : []),
  ];
  return lines.map(([name, value]) => `${name.padEnd(15)} ${value}`).join('\n');
}
