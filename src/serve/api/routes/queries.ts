import type { Clock } from '../../../core/time.ts';
import type { ReadPool } from '../../../store/queries/read-pool.ts';
import type { LatestTicks } from '../latest-ticks.ts';
import { Reading } from '../reading.ts';
import type { Routes } from '../routes.ts';
import { barRoutes } from './bars.ts';
import { chainRoutes } from './chain.ts';
import { deadLetterRoutes } from './dead-letters.ts';
import { gapRoutes } from './gaps.ts';
import { jobRoutes } from './jobs.ts';
import { rangeRoutes } from './ranges.ts';
import { signalRoutes } from './signals.ts';
import { symbolRoutes } from './symbols.ts';
import { tickRoutes } from './ticks.ts';

export interface QueryRoutesOptions {
  pool: ReadPool;
  /** NO_LATEST: the database alone is asked */
  latest: LatestTicks;
  clock: Clock;
}

/** Everything stored, for who may read. */
export function queryRoutes({ pool, latest, clock }: QueryRoutesOptions): Routes[] {
  const reading = new Reading(pool);
  return [
    tickRoutes({ reading, latest, clock }),
    symbolRoutes(reading),
    barRoutes(reading),
    signalRoutes(reading),
    rangeRoutes(reading),
    chainRoutes(reading),
    gapRoutes(reading),
    deadLetterRoutes(reading),
    jobRoutes(reading),
  ];
}
