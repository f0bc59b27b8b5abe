import { InvalidArgumentError, type CommanderError } from 'commander';

export const EXIT_PROBLEM = 1;
export const EXIT_USAGE = 2;

const INT64_MAX = 2n ** 63n - 1n;

/** For commander's argParser. */
export function wholeBigint(text: string): bigint {
  if (!/^\d{1,19}$/.test(text) || BigInt(text) > INT64_MAX) {
    throw new InvalidArgumentError('Expected a whole number from 0 to 9223372036854775807.');
  }
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

/** What commander itself complains about is a mistake in the command line: 2. Commands name their own codes. */
export function exitCodeOf(error: CommanderError): number {
  return error.exitCode === 1 && error.code !== 'commander.error' ? EXIT_USAGE : error.exitCode;
}
