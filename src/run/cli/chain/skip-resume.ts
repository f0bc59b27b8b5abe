import { Option, type Command } from 'commander';
import type { Client } from 'pg';
import { acceptHalt, DecisionRefused, skipTick, type HaltKind } from '../../../store/chain/halt.ts';
import type { Config } from '../../config/load.ts';
import { databaseUrlOf } from '../../config/addresses.ts';
import { tickNumber } from '../arguments.ts';
import { runOnDatabase } from '../database.ts';

/** `tick-ingester skip` and `resume`: decisions only an operator may take. A running daemon starts over from the ledger. */
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
  const applicationName = `${config.serviceName} ${command.name()}`;
  await runOnDatabase(command, databaseUrlOf(config.database), applicationName, async (client, print) => {
    try {
      print(await work(client));
      return null;
    } catch (error) {
      if (error instanceof DecisionRefused) return error.message;
      throw error;
    }
  });
  process.exit(0);
}
