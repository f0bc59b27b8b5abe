import type { Command } from 'commander';
import { DecisionRefused } from '../../../store/chain/halt.ts';
import { findLowestComplete, raiseChainFloor, type RaisedFloor } from '../../../store/quality/raise-floor.ts';
import { databaseUrlOf } from '../../config/addresses.ts';
import type { Config } from '../../config/load.ts';
import { runOnDatabase } from '../database.ts';

const HELP = `
For chunks or rows of old ticks that were removed by hand, or by a policy of your own: verify and quality call them missing
until the floor is above them. The floor becomes the lowest tick that is stored with its proof, its transactions and the
output it links to; it never goes down. A hole above 1,024 complete ticks stays a finding: those were to be kept.
It works beside a running daemon, which starts over from the ledger.

Exit codes: 0 raised, or nothing was missing; 1 failed, or no complete tick is left.

Example:
  $ tick-ingester raise-floor --dry-run`;

/** `tick-ingester raise-floor`: an operator's word that what is missing at the lower end was dropped on purpose. */
export function registerRaiseFloor(program: Command, loadConfig: () => Config): void {
  program
    .command('raise-floor')
    .description(
      'ticks that were removed by hand (drop_chunks) count as dropped, as if retention had done it',
    )
    .option('--dry-run', 'say what would be done (default: off)')
    .addHelpText('after', HELP)
    .action(async ({ dryRun }: { dryRun?: true }, command: Command) => {
      const config = loadConfig();
      const applicationName = `${config.serviceName} ${command.name()}`;
      await runOnDatabase(command, databaseUrlOf(config.database), applicationName, async (client, print) => {
        try {
          const found = await findLowestComplete(client);
          if (found !== null && dryRun !== true) await raiseChainFloor(client, found);
          for (const line of linesOf(found, dryRun === true)) print(line);
          return null;
        } catch (error) {
          if (error instanceof DecisionRefused) return error.message;
          throw error;
        }
      });
      process.exit(0);
    });
}

function linesOf(found: RaisedFloor | null, isDryRun: boolean): string[] {
  if (found === null) return ['Nothing is missing at the lower end: the floor stays.'];
  const { from, floor, position, openBelow, publishedUpTo } = found;
  const lines = [
    `${isDryRun ? 'The floor would be' : 'The floor is'} tick ${floor}: of ${from} to ${floor - 1n} something is missing, and they count as dropped; ${floor} to ${position} are kept.`,
  ];
  if (openBelow > 0n)
    lines.push(
      `${openBelow} ticks of open gaps below it ${isDryRun ? 'would not be' : 'are not'} looked for any more.`,
    );
  if (publishedUpTo !== null)
    lines.push(
      `The orders of ticks ${publishedUpTo + 1n} to ${floor - 1n} were not published and cannot be any more.`,
    );
  lines.push('What is still stored below it is removed by RETENTION_CHAIN, or by hand.');
  return lines;
}
