import { decode } from '@msgpack/msgpack';
import { InvalidArgumentError, type Command } from 'commander';
import { TrimmedError, type Delivery, type StreamBus } from '../../../bus/bus.ts';
import { parseExactly } from '../../../core/market/codec/precision.ts';
import { formatMicros } from '../../../core/time.ts';
import { compileWhere, type Where } from '../../../stream/where.ts';
import { eventsTopic } from '../../stages/open-bus.ts';
import { wholeNumber } from '../arguments.ts';
import type { StreamCommands } from './commands.ts';
import { printable, printOf, shorten, type Print } from '../text.ts';

interface TailArguments {
  topic?: string;
  limit: number;
  follow?: true;
  where?: Where;
  json?: true;
}

/** How long --follow waits for a record before it looks whether it is to end, ms. */
const WAIT_MS = 500;
/** Records per read. */
const PAGE = 1_000;
const SHOWN_CHARS_MAX = 400;

/** `mdp stream tail`: the newest records of a topic, without being a member of any group. */
export function registerTail(commands: StreamCommands): void {
  commands
    .command('tail', 'the newest records of a topic; looks alone, takes nothing from any group')
    .option('--topic <name>', 'mdp.events.dlq, mdp.signals … (default: that of market events)')
    .option('--limit <n>', 'so many of the newest records', wholeNumber, 20)
    .option('--follow', 'go on with what comes, until Ctrl-C')
    .option(
      '--where <cel>',
      'only records for which this CEL expression over their fields is true',
      whereExpression,
    )
    .option('--json', 'one JSON object a line: msg_id, partition, taken_at, key, event (default: for people)')
    .addHelpText('after', HELP)
    .action((options: TailArguments, command: Command) =>
      commands.run(command, (config) =>
        commands.withBus(config, (bus) =>
          tail(bus, { ...options, topic: options.topic ?? eventsTopic(config) }, printOf(command)),
        ),
      ),
    );
}

const HELP = `
Examples:
  $ mdp stream tail --topic mdp.events --limit 50
  $ mdp stream tail --topic mdp.events --follow --where 'symbol == "SPY" && price > 400'
  $ mdp stream tail --topic mdp.events.dlq --json | jq .event.reason

A field that a record lacks is null in --where. Records that are no JSON or msgpack object are shown as they are, and
match no --where.
Exit codes: 0 done, 1 failed, 2 a mistake in the command line or the configuration.`;

function whereExpression(text: string): Where {
  const compiled = compileWhere(text, 'own');
  if (typeof compiled === 'function') return compiled;
  const { at, problem } = compiled;
  throw new InvalidArgumentError(
    `It must be a CEL expression such as symbol == "SPY" && price > 100: at character ${at + 1}, ${problem}`,
  );
}

async function tail(bus: StreamBus, options: TailArguments & { topic: string }, print: Print): Promise<void> {
  const { topic, limit } = options;
  const partitions = Array.from({ length: bus.partitions(topic) }, (_, index) => index);
  const newest = await Promise.all(partitions.map((partition) => bus.tail(topic, partition, limit)));
  const shown = newest.flat().sort((a, b) => a.takenMs - b.takenMs);
  for (const delivery of shown.slice(-limit)) show(delivery, options, print);
  if (options.follow !== true) return;
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => interrupted.abort());
  await Promise.all(
    partitions.map((partition) =>
      follow(
        bus,
        { topic, partition, after: newest[partition].at(-1)?.position ?? null },
        interrupted.signal,
        {
          show: (delivery) => show(delivery, options, print),
          say: (text) => process.stderr.write(`${text}\n`),
        },
      ),
    ),
  );
}

interface TailOutput {
  show: (delivery: Delivery) => void;
  say: (text: string) => void;
}

async function follow(
  bus: StreamBus,
  { topic, partition, after }: { topic: string; partition: number; after: string | null },
  interrupted: AbortSignal,
  { show: put, say }: TailOutput,
): Promise<void> {
  const follower = await bus.follow(topic, partition, after);
  try {
    while (!interrupted.aborted) {
      try {
        for (const delivery of await follower.next(PAGE, WAIT_MS)) put(delivery);
      } catch (error) {
        if (!(error instanceof TrimmedError)) throw error;
        say(error.message);
      }
    }
  } finally {
    await follower.close();
  }
}

function show(delivery: Delivery, { where, json }: TailArguments, print: Print): void {
  const { fields, text } = contentOf(delivery);
  if (where !== undefined && (fields === null || !where(fields))) return;
  const takenAt = formatMicros(BigInt(Math.round(delivery.takenMs * 1000)));
  if (json === true) {
    const { position, partition, key } = delivery;
    print(
      JSON.stringify(
        { msg_id: position, partition, taken_at: takenAt, key, event: fields ?? text },
        withBigints,
      ),
    );
    return;
  }
  print(`${delivery.position}  ${takenAt}  ${printable(shorten(text, SHOWN_CHARS_MAX))}`);
}

function contentOf({ data, encoding }: Delivery): { fields: Record<string, unknown> | null; text: string } {
  if (data === null) return { fields: null, text: '(the bus has lost this record)' };
  const raw = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('utf8');
  try {
    const value: unknown = encoding === 'json' ? parseExactly(raw) : decode(data, { useBigInt64: true });
    const fields =
      typeof value === 'object' && value !== null && !Array.isArray(value)
        ? (value as Record<string, unknown>)
        : null;
    return { fields, text: encoding === 'json' ? raw.trim() : JSON.stringify(value, withBigints) };
  } catch {
    return { fields: null, text: raw };
  }
}

function withBigints(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value;
}
