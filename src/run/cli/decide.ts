import { Command, InvalidArgumentError, Option } from 'commander';
import { acceptHalt, DecisionRefused, skipTick, type HaltKind } from '../../store/halt.ts';
import type { Config } from '../config.ts';
import { databaseFailure, withDatabase } from './with-database.ts';
import type { Client } from 'pg';

/** `tick-ingester skip` and `resume`: what only an operator may decide. The daemon may run meanwhile; it begins anew. */
export function registerDecisions(program: Command, loadConfig: () => Config): void {
  program
    .command('skip')
    .description(
      'pass over one tick that cannot be had: the next one to be read (it is too large, say), or one in a gap.\n' +
        'It becomes a gap of state "skipped": not read, not filled, and shown by status',
    )
    .requiredOption('--tick <number>', 'number of the tick', tickNumber)
    .addHelpText('after', '\nExample:\n  $ tick-ingester skip --tick 541409765')
    .action(async ({ tick }: { tick: bigint }, command: Command) => {
      await decide(command, loadConfig(), async (client) => {
        const what = await skipTick(client, tick);
        return what === 'due'
          ? `Tick ${tick} is skipped; reading goes on at ${tick + 1n}.`
          : `Tick ${tick} is skipped; its gap is not filled any more.`;
      });
    });
  program
    .command('resume')
    .description('go on after a halt (status and /ready say which)')
    .addOption(
      new Option(
        '--accept <halt>',
        'what is accepted. poison: the dead letters so far; DEAD_LETTER_MAX counts anew. forked: the sequencer has\n' +
          'another chain than the store; what is stored stays, reading goes on behind it',
      )
        .choices(['poison', 'forked'])
        .makeOptionMandatory(),
    )
    .addHelpText('after', '\nExample:\n  $ tick-ingester resume --accept poison')
    .action(async ({ accept }: { accept: HaltKind }, command: Command) => {
      await decide(command, loadConfig(), async (client) => {
        const { reason } = await acceptHalt(client, accept);
        return `Accepted: ${reason}. Ingestion goes on.`;
      });
    });
}

async function decide(
  command: Command,
  config: Config,
  work: (client: Client) => Promise<string>,
): Promise<void> {
  const url =
    config.database?.kind === 'embedded' ? `embedded:${config.database.dataDir}` : config.database?.url;
  let failure: string | null = null;
  try {
    const done = await withDatabase(url, `${config.serviceName} ${command.name()}`, work);
    process.stdout.write(`${done}\n`);
  } catch (error) {
    failure = error instanceof DecisionRefused ? error.message : databaseFailure(error);
  }
  if (failure !== null) command.error(`tick-ingester ${command.name()}: ${failure}`, { exitCode: 1 });
  process.exit(0);
}

const TICK_MAX = 2n ** 63n - 1n;

function tickNumber(text: string): bigint {
  if (!/^\d{1,19}$/.test(text) || BigInt(text) > TICK_MAX) {
    throw new InvalidArgumentError('It must be a tick number, 0 to 2^63-1.');
  }
  return BigInt(text);
}
