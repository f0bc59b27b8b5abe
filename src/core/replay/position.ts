import type { ReplaySource } from './request.ts';

/** The last tick that was emitted: the next one follows it in the order of (time, source, provider, symbol, seq). */
export interface ReplayPosition {
  tsUs: bigint;
  source: ReplaySource;
  provider: string;
  symbol: string;
  seq: bigint;
}

/** One provider and symbol of a run, by the number that its rows carry. */
export interface Series {
  provider: string;
  symbol: string;
}

/** In the order that rows of one time have; both lists are sorted by their bytes. */
export function seriesOf(providers: readonly string[], symbols: readonly string[]): Series[] {
  return providers.flatMap((provider) => symbols.map((symbol) => ({ provider, symbol })));
}
