import type { Command } from 'commander';
import type { Client } from 'pg';
import { EXIT_PROBLEM, nameOf } from './arguments.ts';
import { databaseFailure, withDatabase } from './database.ts';

/** Writes a line to stdout. */
export type Print = (line: string) => void;

/** What a command does with its session; returns in one line why it failed, or null. */
export type CommandWork = (client: Client, print: Print) => Promise<string | null>;

/** Runs a command with one session on DATABASE_URL; when it fails it ends with one line on stderr and EXIT_PROBLEM. */
export async function runOnDatabase(
  command: Command,
  databaseUrl: string | undefined,
  applicationName: string,
  work: CommandWork,
): Promise<void> {
  const output = command.configureOutput();
  const print: Print = (line) => output.writeOut?.(`${line}\n`);
  let failure: string | null;
  try {
    failure = await withDatabase(databaseUrl, applicationName, (client) => work(client, print));
  } catch (error) {
    failure = databaseFailure(error);
  }
  if (failure !== null) command.error(`${nameOf(command)}: ${failure}`, { exitCode: EXIT_PROBLEM });
}
