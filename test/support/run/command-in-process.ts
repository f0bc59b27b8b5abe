import { Command, CommanderError } from 'commander';
import { exitCodeOf } from '../../../src/run/cli/arguments.ts';

export interface Outcome {
  code: number;
  out: string;
  err: string;
}

/** A command of a program in this process: what it prints, and its exit code. */
export async function runInProcess(
  register: (program: Command) => void,
  ...args: readonly string[]
): Promise<Outcome> {
  const outcome: Outcome = { code: 0, out: '', err: '' };
  const program = new Command('mdp').exitOverride().configureOutput({
    writeOut: (text) => (outcome.out += text),
    writeErr: (text) => (outcome.err += text),
  });
  register(program);
  try {
    await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    outcome.code = exitCodeOf(error);
  }
  return outcome;
}
