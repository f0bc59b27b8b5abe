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

/** Everything stored, for who may read. */
export function queryRoutes(pool: ReadPool, latest: LatestTicks): Routes[] {
  const reading = new Reading(pool);
  return [
    tickRoutes({ reading, latest }),
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
