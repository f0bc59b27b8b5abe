import type { Command } from 'commander';
import type { ScheduleView } from '../../../store/replay/schedules.ts';
import { printOf, tableLines } from '../text.ts';
import { withReplays, type ReplayEnvironment, type ReplayWork } from './replays.ts';
import { scheduleFieldsOf, withRequestOptions, type RequestArguments } from './request-options.ts';

const CONFIG = 'the configuration (default: STREAMING_CONFIG, or configs/streaming.yaml)';
const CODES = `Exit codes: 0 done, 1 failed, or there is no such schedule; 2 a mistake in the command line or the configuration.
The database is named by DATABASE_URL (no default).`;

interface AddArguments extends RequestArguments {
  cron: string;
  timezone: string;
}

/** `mdp replay schedule …` */
export function registerSchedules(replay: Command, env: ReplayEnvironment): void {
  const schedule = replay
    .command('schedule')
    .description('replays at the times of a cron expression, started by a daemon with the stage api');
  withRequestOptions(schedule.command('add').description('add a schedule').argument('<name>', 'its name'))
    .requiredOption(
      '--cron <expression>',
      'minute, hour, day of month, month, weekday; six fields begin with the second',
    )
    .option('--timezone <zone>', 'whose clock it goes by, such as America/New_York', 'UTC')
    .option(
      '--last <duration>',
      'in place of --from and --to: the time of this length before it is due, such as 24h',
    )
    .option('--config <file>', CONFIG)
    .option('--json', 'one JSON object (default: text)')
    .addHelpText('after', ADD_HELP)
    .action((name: string, options: AddArguments, command: Command) =>
      withReplays(command, env, async ({ replays, config }) => {
        const { cron, timezone } = options;
        const request = scheduleFieldsOf(options, config);
        say(command, [await replays.addSchedule({ name, cron, timezone, request })]);
      }),
    );
  schedule
    .command('list')
    .description('the schedules, and when each is due next')
    .option('--config <file>', CONFIG)
    .option('--json', 'a JSON object a line (default: a table)')
    .addHelpText('after', `\nExample:\n  $ mdp replay schedule list\n\n${CODES}`)
    .action((_options: unknown, command: Command) =>
      withReplays(command, env, async ({ replays }) => say(command, await replays.schedules())),
    );
  const named = (
    word: string,
    description: string,
    work: (replays: ReplayWork['replays'], name: string) => Promise<ScheduleView | null>,
  ): void => {
    schedule
      .command(word)
      .description(description)
      .argument('<name>', 'its name')
      .option('--config <file>', CONFIG)
      .option('--json', 'one JSON object (default: text)')
      .addHelpText('after', `\nExample:\n  $ mdp replay schedule ${word} nightly\n\n${CODES}`)
      .action((name: string, _options: unknown, command: Command) =>
        withReplays(command, env, async ({ replays }) => {
          const left = await work(replays, name);
          if (left === null) printOf(command)(`schedule ${name} is removed`);
          else say(command, [left]);
        }),
      );
  };
  named('enable', 'let a schedule start runs again', (replays, name) => replays.enableSchedule(name, true));
  named('disable', 'keep a schedule from starting runs', (replays, name) =>
    replays.enableSchedule(name, false),
  );
  named('remove', 'forget a schedule; its runs stay', async (replays, name) => {
    await replays.removeSchedule(name);
    return null;
  });
}

const ADD_HELP = `
Examples:
  $ mdp replay schedule add nightly --cron '30 22 * * 1-5' --dataset spy_1day_history --last 24h --speed 0
  $ mdp replay schedule add monday --cron '0 9 * * 1' --timezone America/New_York --provider ibkr --symbols SPY \\
      --from 2025-10-01 --to 2025-10-02

A time that passed while no daemon ran is made up for once, when one runs again.
${CODES}`;

function say(command: Command, schedules: readonly ScheduleView[]): void {
  const print = printOf(command);
  if (command.opts<{ json?: true }>().json === true) {
    for (const each of schedules) print(JSON.stringify(each));
    return;
  }
  if (schedules.length === 0) return print('there are no schedules');
  const lines = tableLines(
    [
      { title: 'schedule', align: 'left' },
      { title: 'cron', align: 'left' },
      { title: 'zone', align: 'left' },
      { title: 'due next', align: 'left' },
      { title: 'last run', align: 'right' },
    ],
    schedules.map(({ name, cron, timezone, enabled, next_at, last_run_id }) => [
      name,
      cron,
      timezone,
      enabled ? (next_at ?? 'never again') : 'disabled',
      last_run_id === null ? '-' : `${last_run_id}`,
    ]),
  );
  for (const line of lines) print(line);
}
