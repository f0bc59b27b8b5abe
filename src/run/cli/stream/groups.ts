import { Option, type Command } from 'commander';
import { INBOX, type GroupInfo } from '../../../bus/bus.ts';
import { eventsTopic } from '../../stages/open-bus.ts';
import { EXIT_FAILED } from '../../exit-codes.ts';
import { nameOf } from '../arguments.ts';
import type { StreamCommands } from './commands.ts';
import { printOf, tableLines } from '../text.ts';
import { NoDatabaseError } from '../database.ts';

interface GroupsArguments {
  topic?: string;
  drop?: string;
  yes?: true;
  json?: true;
}

/** A group is reported as blocking trimming when none of its members was seen for this long, ms. */
const IDLE_MS = 3_600_000;

/** `mdp stream groups`: who reads a topic, how far, and what holds back its trimming. */
export function registerGroups(commands: StreamCommands): void {
  commands
    .command(
      'groups',
      'the consumer groups of a topic: what is pending, how far they lag, and which are idle',
    )
    .option('--topic <name>', 'the topic (default: that of market events)')
    .addOption(
      new Option('--drop <group>', 'forget a group: what it has not acknowledged may then be trimmed'),
    )
    .option('--yes', 'drop without asking first what it has not acknowledged')
    .option('--json', 'one JSON object (default: a table)')
    .addHelpText('after', HELP)
    .action((options: GroupsArguments, command: Command) =>
      commands.run(command, (config) =>
        commands.withBus(config, async (bus, store) => {
          const topic = options.topic ?? eventsTopic(config);
          const print = printOf(command);
          const groups = await bus.groups(topic);
          if (options.drop !== undefined) {
            const refusal = dropRefusal(groups, options.drop, options.yes === true);
            // its role, positions and checkpoints are rows there
            if (store === null) throw new NoDatabaseError('--drop needs the database too: set DATABASE_URL');
            if (refusal !== null) command.error(`${nameOf(command)}: ${refusal}`, { exitCode: EXIT_FAILED });
            await bus.dropGroup(topic, options.drop);
            await store.forgetGroup(topic, options.drop);
            print(`group ${options.drop} of ${topic} is dropped`);
            return;
          }
          const usage = await bus.usage();
          const durability = await bus.durability();
          if (options.json === true) {
            const { bytes, maxBytes } = usage;
            print(JSON.stringify({ topic, bus: bus.kind, usage: { bytes, maxBytes }, durability, groups }));
            return;
          }
          for (const line of lines(topic, groups)) print(line);
          const percent = ((100 * usage.bytes) / usage.maxBytes).toFixed(1);
          print(`${bus.kind}: ${usage.bytes} of ${usage.maxBytes} bytes (${percent} %). ${durability.why}`);
          for (const { group, idleMs } of idleGroups(groups)) {
            print(
              `group ${group} was not seen for ${Math.round(idleMs / 60_000)} min and keeps its records: start it, or --drop ${group}`,
            );
          }
        }),
      ),
    );
}

const HELP = `
Examples:
  $ mdp stream groups --topic mdp.events
  $ mdp stream groups --topic mdp.events --drop old-consumer

pending: handed out and not acknowledged. lag: not yet handed out. age: of the oldest record not acknowledged.
partition inbox (--json: -1): what is put under the topic's own name, and moved to its partitions.
Exit codes: 0 done, 1 failed, 2 a mistake in the command line or the configuration.`;

function dropRefusal(groups: readonly GroupInfo[], name: string, isSure: boolean): string | null {
  const own = groups.filter(({ group }) => group === name);
  if (own.length === 0) return `there is no group ${name}`;
  const open = own.reduce((sum, { pending, lag }) => sum + pending + (lag ?? 0), 0);
  if (open === 0 || isSure) return null;
  return `group ${name} has ${open} records that it did not acknowledge; --yes drops it all the same`;
}

function idleGroups(groups: readonly GroupInfo[]): { group: string; idleMs: number }[] {
  const idle = new Map<string, number>();
  for (const { group, idleMs, pending, lag } of groups) {
    if (idleMs !== null && idleMs >= IDLE_MS && pending + (lag ?? 0) > 0) {
      idle.set(group, Math.max(idle.get(group) ?? 0, idleMs));
    }
  }
  return [...idle].map(([group, idleMs]) => ({ group, idleMs }));
}

function lines(topic: string, groups: readonly GroupInfo[]): string[] {
  if (groups.length === 0) return [`${topic} has no groups`];
  return tableLines(
    [
      { title: 'group', align: 'left' },
      { title: 'partition', align: 'right' },
      { title: 'members', align: 'right' },
      { title: 'pending', align: 'right' },
      { title: 'lag', align: 'right' },
      { title: 'age', align: 'right' },
      { title: 'acknowledged', align: 'left' },
    ],
    groups.map(({ group, partition, members, pending, lag, lagMs, acknowledged }) => [
      group,
      partition === INBOX ? 'inbox' : `${partition}`,
      `${members}`,
      `${pending}`,
      lag === null ? '?' : `${lag}`,
      `${(lagMs / 1000).toFixed(1)} s`,
      acknowledged ?? '-',
    ]),
  );
}
