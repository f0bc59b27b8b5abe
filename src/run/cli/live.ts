import { InvalidArgumentError, Option, type Command } from 'commander';
import { ApiError, createClient, type LiveEvent, type Topic } from '../../client/exports.ts';
import { readSetting } from '../config/load.ts';
import { EXIT_FAILED, EXIT_USAGE } from '../exit-codes.ts';
import { nameOf, wholeNumber } from './arguments.ts';
import { printable, printOf } from './text.ts';

interface LiveArguments {
  url?: string;
  topic: Topic;
  symbols?: string[];
  provider?: string;
  where?: string;
  from?: string;
  after?: string;
  limit?: number;
  ids?: true;
}

/** `mdp live`: a topic of the API's live path as NDJSON. */
export function registerLive(program: Command): void {
  program
    .command('live')
    .description('what an API (stage api, mdp serve) sends live, one JSON object a line')
    .option('--url <url>', 'of the API (default: API_HOST and API_PORT of this machine)', httpUrl)
    .addOption(
      new Option('--topic <name>', 'what to follow')
        .choices(['ticks', 'bars', 'signals', 'chain'])
        .default('ticks'),
    )
    .option('--symbols <list>', 'only these, separated by commas (default: all)', commaList)
    .option('--provider <name>', 'only of this one (default: all)')
    .option('--where <cel>', 'only items for which this CEL expression is true')
    .option('--from <time>', 'begin with history from there, ISO-8601 (default: with what comes next)')
    .option('--after <id>', 'go on behind the event with this id, as --ids prints it')
    .option('--limit <n>', 'end after so many items (default: at Ctrl-C)', wholeNumber)
    .option(
      '--ids',
      'each line as {"id","event","item"}, to go on from with --after (default: the item alone)',
    )
    .addHelpText('after', HELP)
    .action((options: LiveArguments, command: Command) => follow(options, command));
}

const HELP = `
Examples:
  $ mdp live --topic ticks --symbols SPY,QQQ --where 'price > 400'
  $ mdp live --url https://market.example --topic bars --from 2026-11-28T14:30:00Z | jq .close

After a cut it goes on behind the last event, without loss or repetition; each cut, and what could not be had any more, is a line on stderr.
The token is taken from API_TOKEN, never from the command line.
Exit codes: 0 --limit or Ctrl-C, 1 failed, 2 a mistake in the command line, the configuration or the request.`;

async function follow(options: LiveArguments, command: Command): Promise<void> {
  const print = printOf(command);
  const say = (line: string): void => void process.stderr.write(`${nameOf(command)}: ${printable(line)}\n`);
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => interrupted.abort());
  const { topic, symbols, provider, where, from, after, limit = Infinity } = options;
  // while it is rotated there are two, and either is good
  const [token] = readSetting('apiToken')?.split(',') ?? [];
  try {
    const client = createClient({ url: options.url ?? ownUrl(), ...(token === undefined ? {} : { token }) });
    const live = client.live({
      topic,
      ...(symbols === undefined ? {} : { symbols }),
      ...(provider === undefined ? {} : { provider }),
      ...(where === undefined ? {} : { where }),
      ...(from === undefined ? {} : { from }),
      ...(after === undefined ? {} : { lastEventId: after }),
      signal: interrupted.signal,
      onCut: ({ message }, waitMs) => say(`${message}; trying again in ${waitMs} ms`),
    });
    let printed = 0;
    if (limit === 0) return;
    for await (const event of live) {
      if (isLoss(event)) {
        say(`${event.event}: ${JSON.stringify(event.loss)}`);
        continue;
      }
      const { id, event: kind, item } = event;
      print(JSON.stringify(options.ids === true ? { id, event: kind, item } : item, withoutBigint));
      printed += 1;
      if (printed >= limit) break;
    }
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    const exitCode = error.code === 'bad_request' ? EXIT_USAGE : EXIT_FAILED;
    command.error(`${nameOf(command)}: ${printable(error.message)}`, { exitCode });
  }
}

function isLoss<T extends Topic>(event: LiveEvent<T>): event is Extract<LiveEvent<T>, { loss: unknown }> {
  return 'loss' in event;
}

/** As the API itself writes them. */
function withoutBigint(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value;
}

function ownUrl(): string {
  const host = readSetting('apiHost');
  const reached = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `http://${reached.includes(':') ? `[${reached}]` : reached}:${readSetting('apiPort')}`;
}

function httpUrl(text: string): string {
  const url = URL.parse(text);
  const isPlain =
    url !== null &&
    /^https?:$/.test(url.protocol) &&
    `${url.username}${url.password}${url.search}${url.hash}` === '';
  if (!isPlain)
    throw new InvalidArgumentError('Expected http://host:port or https://host, without user and query.');
  return text;
}

function commaList(text: string): string[] {
  return text.split(',').filter((part) => part !== '');
}
