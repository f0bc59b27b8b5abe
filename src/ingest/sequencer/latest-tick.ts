import type { LogLine } from '../../core/env.ts';
import { setTimeout as delay } from 'node:timers/promises';
import { backoffMs, type BackoffLimits } from '../../core/retry.ts';
import { latestTick, type SourceOptions } from './connection.ts';

export interface LatestTickHost {
  nowMicros(): bigint;
  random(): number;
  readonly log: LogLine;
}

/** The sequencer's latest tick; asks until it answers. Rejects once `isWanted` says no. */
export async function awaitLatestTick(
  source: SourceOptions,
  backoff: BackoffLimits,
  host: LatestTickHost,
  isWanted: () => boolean,
): Promise<bigint> {
  for (let attempt = 0; ; attempt += 1) {
    if (!isWanted()) throw new Error('the lease is lost');
    try {
      return await latestTick(source, () => Number(host.nowMicros() / 1000n));
    } catch (error) {
      host.log('warn', 'The sequencer does not say its latest tick', { error: (error as Error).message });
    }
    await delay(backoffMs(attempt, backoff, host.random()));
  }
}
