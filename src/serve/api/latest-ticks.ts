import type { Micros } from '../../core/time.ts';

/** A tick as the queries give it. */
export interface LatestTick {
  ts: Micros;
  /** the item, as JSON text */
  json: string;
}

/** What the database said is the newest tick. */
export interface FoundTick extends LatestTick {
  provider: string;
  seq: bigint;
}

/**
 * The newest market ticks in memory; of those that are on the bus, so it may be ahead of the table by what the tick consumer has in
 * hand. What it does not know for certain to be the newest is null: then the database is asked, and it is told the answer.
 */
export interface LatestTicks {
  /** @param provider null: of all */
  get(provider: string | null, symbol: string): LatestTick | null;
  /** To be called before the database is asked; its result goes to learn(). */
  asking(): number;
  learn(asked: number, provider: string | null, symbol: string, found: FoundTick): void;
}

/** Nothing is in memory. */
export const NO_LATEST: LatestTicks = { get: () => null, asking: () => 0, learn: () => {} };
