import { InvalidArgumentError, type Command, type CommanderError } from 'commander';
import { INT64_MAX } from '../../core/chain/tick.ts';
import { EXIT_USAGE } from '../exit-codes.ts';

/** For commander's argParser. */
export function wholeBigint(text: string): bigint {
  return int64(text, `Expected a whole number from 0 to ${INT64_MAX}.`);
}

/** For commander's argParser. */
export function tickNumber(text: string): bigint {
  return int64(text, `It must be a tick number. A tick number is 0 to ${INT64_MAX}.`);
}

function int64(text: string, complaint: string): bigint {
  if (!/^\d{1,19}$/.test(text) || BigInt(text) > INT64_MAX) throw new InvalidArgumentError(complaint);
  return BigInt(text);
}

/** For commander's argParser. */
export function wholeNumber(text: string): number {
  const value = Number(text);
  if (!/^\d{1,16}$/.test(text) || !Number.isSafeInteger(value)) {
    throw new InvalidArgumentError('Expected a whole number from 0.');
  }
  return value;
}

/** Errors that commander itself reports are usage errors: exit code 2. Commands set their own codes. */
export function exitCodeOf(error: CommanderError): number {
  return error.exitCode === 1 && error.code !== 'commander.error' ? EXIT_USAGE : error.exitCode;
}

/** A mistake in the command line that commander cannot see. */
export function endWithUsage(command: Command, message: string): never {
  return command.error(`${nameOf(command)}: ${message}`, { exitCode: EXIT_USAGE });
}

/** The full command as typed: `mdp db migrate`. */
export function nameOf(command: Command): string {
  return command.parent === null ? command.name() : `${nameOf(command.parent)} ${command.name()}`;
}
