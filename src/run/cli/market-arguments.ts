/** Arguments of commands over market data, for commander's argParser. */
import { InvalidArgumentError } from 'commander';
import { parseDuration } from '../../core/duration.ts';
import { upperCased } from '../../core/market/identity/symbol.ts';
import { parseIsoMicros } from '../../core/time.ts';
import { windowMsOf } from '../../stream/bars/micro-batcher.ts';
import { order } from '../../stream/bars/rebuild.ts';

/** the bus takes no others */
const EARLIEST = '2000-01-01';
const LATEST = '2100-01-01';

export function symbolList(text: string): string[] {
  const symbols = text.split(',').map((symbol) => upperCased(symbol.trim()));
  if (symbols.includes('')) throw new InvalidArgumentError('Expected symbols separated by commas.');
  return [...new Set(symbols)].sort(order);
}

export function time(text: string): bigint {
  let micros: bigint;
  try {
    micros = parseIsoMicros(text);
  } catch (error) {
    throw new InvalidArgumentError(`${(error as Error).message}.`);
  }
  if (micros < parseIsoMicros(EARLIEST) || micros > parseIsoMicros(LATEST))
    throw new InvalidArgumentError(`Expected a time from ${EARLIEST} to ${LATEST}.`);
  return micros;
}

export function windowLength(text: string): number {
  try {
    return windowMsOf(parseDuration(text) / 1000);
  } catch (error) {
    throw new InvalidArgumentError(`${(error as Error).message}.`);
  }
}
