import { InvalidArgumentError, Option, type Command } from 'commander';
import type { ReplayStatus } from '../../../core/replay/control.ts';
import type { ReplayOrder } from '../../../serve/replay/replays.ts';
import { JOB_STATUSES } from '../../../store/queries/jobs.ts';
import type { ReplayRunView } from '../../../store/replay/views.ts';
import { EXIT_FAILED } from '../../exit-codes.ts';
import { watchSignals } from '../../signals.ts';
import { nameOf, wholeNumber } from '../arguments.ts';
import { printOf, tableLines, type Print } from '../text.ts';
import { follow } from './follow.ts';
import { withReplays, type ReplayEnvironment, type ReplayWork } from './replays.ts';
import { fieldsOf, speed, withRequestOptions, type RequestArguments } from './request-options.ts';
import { registerSchedules } from './schedules.ts';

const CONFIG = 'the configuration (default: STREAMING_CONFIG, or configs/streaming.yaml)';
const JSON_OBJECT = 'one JSON object (default: text)';
const CODES = `Exit codes: 0 done, 1 failed, or there is no such run, or it has ended; 2 a mistake in the command line or the configuration.
The database is named by DATABASE_URL (no default).`;

/** `mdp replay …`: replays that daemons with the stage api run. */
export function registerReplay(program: Command, env: ReplayEnvironment): void {
  const replay = program
    .command('replay')
    .description(
      'replays of stored ticks, which the stage api of a daemon runs: start, watch and steer them',
    );
  registerStart(replay, env);
  registerList(replay, env);
  registerShow(replay, env);
  const order = (name: string, description: string, example: string): Command =>
    replay
      .command(name)
      .description(description)
      .argument('<run>', 'its number', runId)
      .option('--config <file>', CONFIG)
      .option('--json', JSON_OBJECT)
      .addHelpText('after', `\nExample:\n  $ mdp replay ${example}\n\n${CODES}`);
  order('pause', 'let a run wait where it is; it takes up to a second', 'pause 42').action(
    (id: bigint, _options: unknown, command: Command) => ordered(command, env, id, { action: 'pause' }),
  );
  order('resume', 'let a paused run go on', 'resume 42').action(
    (id: bigint, _options: unknown, command: Command) => ordered(command, env, id, { action: 'resume' }),
  );
  order('cancel', 'end a run; what it has emitted stays', 'cancel 42').action(
    (id: bigint, _options: unknown, command: Command) => ordered(command, env, id, { action: 'cancel' }),
  );
  order('speed', 'change the speed of a run, also while it runs', 'speed 42 10')
    .argument('<speed>', '1 as it was, 10 ten times as fast, 0 as fast as the bus takes it', speed)
    .action((id: bigint, value: number, _options: unknown, command: Command) =>
      ordered(command, env, id, { action: 'change speed', speed: value }),
    );
  order(
    'seek',
    'let a run go on at another time of its range; going back, ticks are emitted again with the same event_id',
    'seek 42 2025-11-03T14:30:00Z',
  )
    .argument('<time>', 'ISO-8601, UTC without a zone')
    .action((id: bigint, to: string, _options: unknown, command: Command) =>
      ordered(command, env, id, { action: 'seek', to }),
    );
  registerSchedules(replay, env);
}

function registerStart(replay: Command, env: ReplayEnvironment): void {
  withRequestOptions(
    replay.command('start').description('start a replay; a daemon with the stage api runs it'),
  )
    .option('--follow', 'show its progress until it has ended (Ctrl-C ends the looking, not the run)')
    .option('--config <file>', CONFIG)
    .option('--json', JSON_OBJECT)
    .addHelpText('after', START_HELP)
    .action((options: RequestArguments & ShowArguments, command: Command) =>
      withReplays(command, env, async ({ replays, config }) => {
        const run = await replays.start(fieldsOf(options, config));
        await shown(command, replays, run, options);
      }),
    );
}

const START_HELP = `
Examples:
  $ mdp replay start --provider ibkr --symbols NVDA,AAPL --from 2025-11-03T14:00 --to 2025-11-03T15:00 --speed 10
  $ mdp replay start --dataset spy_1day_history --from 2025-10-01 --to 2025-10-02 --speed 0 --follow

"mdp stream replay" runs it in its own process instead. pending: no daemon has taken it yet.
${CODES}`;

interface ShowArguments {
  follow?: true;
  json?: true;
}

function registerShow(replay: Command, env: ReplayEnvironment): void {
  replay
    .command('show')
    .description('one replay: how far it is')
    .argument('<run>', 'its number', runId)
    .option('--follow', 'show its progress until it has ended')
    .option('--config <file>', CONFIG)
    .option('--json', JSON_OBJECT)
    .addHelpText('after', `\nExample:\n  $ mdp replay show 42 --follow\n\n${CODES}`)
    .action((id: bigint, options: ShowArguments, command: Command) =>
      withReplays(command, env, async ({ replays }) =>
        shown(command, replays, await replays.show(id), options),
      ),
    );
}

function registerList(replay: Command, env: ReplayEnvironment): void {
  replay
    .command('list')
    .description('replays, the newest first')
    .addOption(new Option('--status <status>', 'only these').choices(JOB_STATUSES))
    .option('--limit <n>', 'so many', wholeNumber, 20)
    .option('--config <file>', CONFIG)
    .option('--json', 'a JSON object a line (default: a table)')
    .addHelpText('after', `\nExample:\n  $ mdp replay list --status running\n\n${CODES}`)
    .action((options: { status?: ReplayStatus; limit: number; json?: true }, command: Command) =>
      withReplays(command, env, async ({ replays }) => {
        const { status = null, limit, json } = options;
        const runs = await replays.list({ status, before: null, limit });
        const print = printOf(command);
        if (json === true) for (const run of runs) print(JSON.stringify(run));
        else for (const line of tableOf(runs)) print(line);
      }),
    );
}

function tableOf(runs: readonly ReplayRunView[]): string[] {
  if (runs.length === 0) return ['there are no replays'];
  return tableLines(
    [
      { title: 'run', align: 'right' },
      { title: 'status', align: 'left' },
      { title: 'speed', align: 'right' },
      { title: 'ticks', align: 'right' },
      { title: 'from', align: 'left' },
      { title: 'reached', align: 'left' },
      { title: 'provider', align: 'left' },
      { title: 'symbols', align: 'left' },
    ],
    runs.map((run) => [
      `${run.run_id}`,
      run.status,
      String(run.metadata['speed']),
      `${run.rows_written}`,
      run.min_ts,
      run.max_ts ?? '-',
      run.provider ?? 'several',
      run.symbols.length > 4 ? `${run.symbols.slice(0, 4).join(',')} …` : run.symbols.join(','),
    ]),
  );
}

async function shown(
  command: Command,
  replays: ReplayWork['replays'],
  run: ReplayRunView,
  { follow: follows, json }: ShowArguments,
): Promise<void> {
  let last = run;
  if (follows === true) {
    const stopping = new AbortController();
    const { first } = watchSignals({ second: () => process.exit(EXIT_FAILED) });
    void first.then(() => stopping.abort());
    last = await follow(replays, BigInt(run.run_id), stopping.signal);
  }
  sayRun(printOf(command), last, json === true);
  if (follows === true && (last.status === 'failed' || last.status === 'cancelled'))
    command.error(`${nameOf(command)}: replay ${last.run_id} ${last.status}${reasonOf(last)}`, {
      exitCode: EXIT_FAILED,
    });
}

function reasonOf({ error_message: reason }: ReplayRunView): string {
  return reason === null ? '' : `: ${reason}`;
}

/** A run in a line, or as JSON. */
export function sayRun(print: Print, run: ReplayRunView, json: boolean): void {
  if (json) return print(JSON.stringify(run));
  const { run_id, status, rows_written, max_ts, metadata } = run;
  const digest = metadata['digest'];
  print(
    `replay ${run_id} is ${status}: ${rows_written} ticks${max_ts === null ? '' : ` up to ${max_ts}`}, speed ${String(metadata['speed'])}` +
      `${typeof digest === 'string' ? `, sha256 ${digest}` : ''}${reasonOf(run)}`,
  );
}

function ordered(command: Command, env: ReplayEnvironment, id: bigint, order: ReplayOrder): Promise<void> {
  return withReplays(command, env, async ({ replays }) => {
    const json = command.opts<{ json?: true }>().json === true;
    sayRun(printOf(command), await replays.order(id, order), json);
  });
}

function runId(text: string): bigint {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('Expected the number of a replay.');
  return BigInt(text);
}
