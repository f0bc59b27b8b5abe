import { Argument, Option, type Command } from 'commander';
import type { Client } from 'pg';
import type { StreamBus } from '../../../bus/bus.ts';
import type { TranscodeLimits } from '../../../core/copy/transcode.ts';
import { ServerClock } from '../../../core/server-clock.ts';
import type { Clock } from '../../../core/time.ts';
import { listDeadLetters, type DeadLetterInfo } from '../../../store/chain/dead-letters.ts';
import { serverMicros } from '../../../store/postgres/server-info.ts';
import { endWithUsage, wholeBigint, wholeNumber } from '../arguments.ts';
import { runOnDatabase } from '../database.ts';
import { parseDeadLetterId, listBusDeadLetters, showBusDeadLetter } from './bus.ts';
import { discardBusDeadLetters, retryBusDeadLetters, type BusChoice } from './bus-resolve.ts';
import { runDiscard } from './discard.ts';
import { filterOf, deadLetterJson, placeText } from './dead-letter.ts';
import { runRetry } from './retry.ts';
import { putRaw, runShow, type ShowArguments } from './show.ts';
import { runStreaming, withBus } from '../stream/commands.ts';
import { printable, printOf, type Print, shorten, tableLines, type TableColumn } from '../text.ts';

const APPLICATION = 'mdp dlq';
const LIST_LIMIT = 100;
const DETAIL_CHARS = 60;

export interface DlqEnvironment {
  /** DATABASE_URL */
  databaseUrl?: string | undefined;
  /** TICK_MAX_BYTES */
  tickBytesMax: () => number;
  clock: Clock;
}

interface ListArguments {
  status: 'open' | 'resolved' | 'all';
  reason?: string;
  from?: bigint;
  to?: bigint;
  limit: number;
  bus?: true;
  json?: true;
}

interface ChoiceArguments {
  reason?: string;
  all?: true;
  bus?: true;
  json?: true;
}

/** `mdp dlq list|show|retry|discard`: frames of the chain that could not become rows, and events that could not be used. */
export function registerDlq(program: Command, env: DlqEnvironment): void {
  const dlq = program
    .command('dlq')
    .description(
      'dead letters, kept raw: frames of the chain that could not be stored (table dead_letters), and events on the bus that could not be used (topic mdp.events.dlq)',
    );

  dlq
    .command('list')
    .description('list dead letters, the newest first')
    .addOption(
      new Option('--status <status>', 'only these').choices(['open', 'resolved', 'all']).default('open'),
    )
    .option('--reason <reason>', 'only of this reason, e.g. malformed_frame, conflict (default: all)')
    .option('--from <tick>', 'only from this tick number on (default: all)', wholeBigint)
    .option('--to <tick>', 'only up to this tick number, itself included (default: all)', wholeBigint)
    .addOption(busOption())
    .addOption(configOption())
    .option('--limit <count>', 'at most so many, 0 = all', wholeNumber, LIST_LIMIT)
    .option('--json', 'NDJSON: one object a line, nothing else (default: a table and a count)')
    .addHelpText(
      'after',
      help(
        'mdp dlq list --status all --reason malformed_frame --from 541000000 --limit 20',
        'A frame without a usable number stands behind the tick before it ("after N"); --from and --to take it as N + 1.\n\nOn the bus a dead letter is counted once, however often its record was refused:\n  $ mdp dlq list --bus --reason bad_price',
      ),
    )
    .action((options: ListArguments, command: Command) => {
      if (options.bus === true) {
        const { reason = null, limit, json, from, to, status } = options;
        if (from !== undefined || to !== undefined)
          endWithUsage(command, '--from and --to are of the chain: --bus has none of them');
        return onBus(command, env, async (bus, print) => {
          await listBusDeadLetters(bus, { status, reason, limit, isJson: json === true }, print);
          return null;
        });
      }
      return runOnDatabase(command, env.databaseUrl, APPLICATION, (client, print) =>
        runList(client, options, print),
      );
    });
  registerShow(dlq, env);
  registerRetry(dlq, env);
  registerDiscard(dlq, env);
}

function registerShow(dlq: Command, env: DlqEnvironment): void {
  dlq
    .command('show')
    .description('show one dead letter: its tick where it decodes, and what differs from the stored one')
    .addArgument(new Argument('<id>', 'as shown by "mdp dlq list"').argParser(parseDeadLetterId))
    .addOption(configOption())
    .option(
      '--raw <file>',
      'write the exact bytes of the frame or record there, - = stdout and nothing else (default: off)',
    )
    .option('--json', 'one JSON object with every field in full; bytes of the frame by --raw (default: text)')
    .addHelpText(
      'after',
      help(
        'mdp dlq show 17 --raw frame.bin',
        "On the bus the id is topic|msg_id:\n  $ mdp dlq show 'mdp.events|1755945303178-0'",
      ),
    )
    .action((id: bigint | string, options: ShowArguments, command: Command) => {
      if (options.raw === '-' && options.json === true) {
        endWithUsage(command, '--raw - and --json both want stdout: name a file for one of them');
      }
      if (typeof id === 'string') {
        const writeRaw = (raw: Uint8Array): Promise<boolean> => putRaw(options.raw, raw);
        return onBus(command, env, (bus, print) =>
          showBusDeadLetter(bus, id, { isJson: options.json === true, writeRaw }, print),
        );
      }
      return runOnDatabase(command, env.databaseUrl, APPLICATION, (client, print) =>
        runShow(client, id, options, print),
      );
    });
}

function registerRetry(dlq: Command, env: DlqEnvironment): void {
  dlq
    .command('retry')
    .description(
      'frames of the chain: parse them again by the rules of this version and store those that are good now, each in one transaction; events: publish them again on their topic',
    )
    .addArgument(new Argument('[id...]', 'as shown by "mdp dlq list"').argParser(collectIds))
    .option('--reason <reason>', 'instead of ids: every open one of this reason (default: off)')
    .option('--all', 'instead of ids: every open one (default: off)')
    .addOption(busOption())
    .addOption(configOption())
    .option('--json', 'NDJSON: one object a dead letter (default: one line a dead letter, and a count)')
    .addHelpText('after', help('TICK_MAX_BYTES=16MiB mdp dlq retry --reason too_large', RETRY_HELP))
    .action((given: (bigint | string)[], options: ChoiceArguments, command: Command) => {
      const { ids, onBusOf } = chosenOf(command, given, options);
      if (onBusOf !== null) {
        return onBus(command, env, (bus, print) => retryBusDeadLetters(bus, onBusOf, env.clock, print));
      }
      // a mistake in it is told before anything is done
      const tickMaxBytes = env.tickBytesMax();
      return runOnDatabase(command, env.databaseUrl, APPLICATION, async (client, print) => {
        const clock = new ServerClock(env.clock);
        clock.observe(await serverMicros(client), clock.monotonicMs());
        const limits = (): TranscodeLimits => ({ nowMicros: clock.nowMicros(), tickMaxBytes });
        return runRetry(client, ids, options, limits, print);
      });
    });
}

function registerDiscard(dlq: Command, env: DlqEnvironment): void {
  dlq
    .command('discard')
    .description(
      'mark dead letters as resolved and do nothing else: dead letters "conflict" of the chain, and any of the bus',
    )
    .addArgument(new Argument('[id...]', 'as shown by "mdp dlq list"').argParser(collectIds))
    .option('--reason <reason>', 'instead of ids: every open one of this reason (default: off)')
    .option('--all', 'instead of ids: every open one; of the chain every "conflict" (default: off)')
    .addOption(busOption())
    .addOption(configOption())
    .option('--json', 'NDJSON: one object a dead letter (default: one line a dead letter)')
    .addHelpText('after', help("mdp dlq discard 'mdp.events|1755945303178-0'", DISCARD_HELP))
    .action((given: (bigint | string)[], options: ChoiceArguments, command: Command) => {
      const { ids, onBusOf } = chosenOf(command, given, options);
      if (onBusOf !== null) {
        return onBus(command, env, (bus, print) => discardBusDeadLetters(bus, onBusOf, env.clock, print));
      }
      if ((options.reason ?? 'conflict') !== 'conflict')
        endWithUsage(
          command,
          `--reason ${options.reason}: of the chain only dead letters "conflict" can be discarded`,
        );
      return runOnDatabase(command, env.databaseUrl, APPLICATION, (client, print) =>
        runDiscard(client, ids, options.json === true, print),
      );
    });
}

/** Which dead letters: some of the chain (null: all that fit), or, where onBusOf is not null, some of the bus. */
function chosenOf(
  command: Command,
  given: readonly (bigint | string)[],
  { reason, all, bus, json }: ChoiceArguments,
): { ids: bigint[] | null; onBusOf: BusChoice | null } {
  const ids = given.filter((id) => typeof id === 'bigint');
  const busIds = given.filter((id) => typeof id === 'string');
  if (busIds.length > 0 && ids.length > 0)
    endWithUsage(command, 'ids of the chain and of the bus: one kind at a time');
  const ways = [given.length > 0, reason !== undefined, all === true];
  if (ways.filter(Boolean).length !== 1)
    endWithUsage(command, 'name ids, or --reason, or --all: one of the three');
  if (busIds.length === 0 && bus !== true) return { ids: ids.length > 0 ? ids : null, onBusOf: null };
  const chosen = given.length > 0 ? given.map(String) : null;
  return { ids: null, onBusOf: { ids: chosen, reason: reason ?? null, isJson: json === true } };
}

const RETRY_HELP = `Outcomes: stored; already stored (equal, so resolved); conflict (another tick of that number is stored);
still bad; refused by the database; no place (its number is not recorded yet, or below the first tick). Only the first two
resolve a dead letter. A frame above TICK_MAX_BYTES (default 4MiB) stays too_large. The ingester may run meanwhile.

On the bus: the record is published again as it was, with its key and encoding, and its dead letter is resolved (list --status
resolved). What is stored already changes nothing, and what is still bad becomes a dead letter again, under its new place.
  $ mdp dlq retry --bus --reason future`;

const DISCARD_HELP = `A dead letter "conflict" of the chain stands beside a stored tick of its number, which stays. Any other one of the chain
is all that there is of a tick: it can be retried and not discarded.

On the bus nothing is removed at once: a discarded dead letter is not listed any more (list --status resolved shows it), and goes with
the others after bus.dlq_retention.
  $ mdp dlq discard --bus --reason bad_price`;

function help(example: string, more?: string): string {
  return `
Example:
  $ ${example}
${more === undefined ? '' : `\n${more}\n`}
Exit codes: 0 done, 1 failed or something stays open, 2 a mistake in the command line.
The database is named by the environment variable DATABASE_URL (no default).`;
}

function collectIds(text: string, before: (bigint | string)[] | undefined): (bigint | string)[] {
  return [...(before ?? []), parseDeadLetterId(text)];
}

function busOption(): Option {
  return new Option('--bus', 'those on the bus, topic mdp.events.dlq (default: those of the chain)');
}

function configOption(): Option {
  return new Option('--config <file>', 'which bus (default: STREAMING_CONFIG, or configs/streaming.yaml)');
}

function onBus(
  command: Command,
  env: DlqEnvironment,
  work: (bus: StreamBus, print: Print) => Promise<string | null>,
): Promise<void> {
  return runStreaming(command, (config) =>
    withBus(env, config, async (bus) => {
      const failure = await work(bus, printOf(command));
      if (failure !== null) throw new Error(failure);
    }),
  );
}

// --- list ---

async function runList(client: Client, options: ListArguments, print: Print): Promise<null> {
  const filter = filterOf(options.status, options.reason, options.from, options.to);
  const limit = options.limit === 0 ? Number.MAX_SAFE_INTEGER : options.limit;
  const { deadLetters, total } = await listDeadLetters(client, filter, limit);
  if (options.json === true) {
    for (const deadLetter of deadLetters) print(JSON.stringify(deadLetterJson(deadLetter)));
    return null;
  }
  const kind = options.status === 'all' ? '' : ` ${options.status}`;
  if (deadLetters.length > 0)
    for (const line of tableLines(LIST_COLUMNS, deadLetters.map(listRow))) print(line);
  const shown =
    deadLetters.length < total ? `, the newest ${deadLetters.length} shown (--limit 0 shows all)` : '';
  print(`${total}${kind} dead letter${total === 1 ? '' : 's'}${shown}`);
  return null;
}

const LIST_COLUMNS: readonly TableColumn[] = [
  { title: 'id', align: 'right' },
  { title: 'source', align: 'left' },
  { title: 'tick', align: 'right' },
  { title: 'reason', align: 'left' },
  { title: 'sqlstate', align: 'left' },
  { title: 'bytes', align: 'right' },
  { title: 'status', align: 'left' },
  { title: 'created', align: 'left' },
  { title: 'detail', align: 'left' },
];

function listRow(deadLetter: DeadLetterInfo): string[] {
  const { id, reason, detail, sqlstate, bytes, status, createdAt } = deadLetter;
  const cells = [id, 'chain', placeText(deadLetter), reason, sqlstate ?? '', `${bytes}`, status, createdAt];
  return [...cells.map(printable), shorten(printable(detail ?? ''), DETAIL_CHARS)];
}
