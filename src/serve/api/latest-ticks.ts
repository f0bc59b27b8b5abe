import type { Micros } from '../../core/time.ts';

/** A tick as the queries give it. */
export interface LatestTick {
  ts: Micros;
  /** the item, as JSON text */
  json: string;
}

/**
 * The newest ticks in memory. What it does not know for certain to be the newest one stored is null: then the database is asked.
 */
export interface LatestTicks {
  /** @param provider of a webhook tick the source; null: of all */
  get(kind: 'market' | 'webhook', provider: string | null, symbol: string): LatestTick | null;
}

/** Nothing is in memory. */
export const NO_LATEST: LatestTicks = { get: () => null };
