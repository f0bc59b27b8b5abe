import { storeVerdict } from '../../core/retry.ts';
import { sqlstateOf } from '../../store/postgres/sqlstate.ts';
import type { DeadLetterReason } from '../../core/market/dead-letter.ts';
import type { StoreClient } from '../../store/store-client.ts';
import type { TickDataResult } from '../../store/market/tick-data.ts';
import type { ServerCalls } from '../server-calls.ts';
import type { DeliveredTick } from './batch.ts';

/** A tick that cannot be stored. */
export interface RefusedTick extends DeliveredTick {
  reason: DeadLetterReason;
  detail: string;
}

export interface SinkResult {
  stored: number;
  /** already stored with the same content */
  known: number;
  refused: RefusedTick[];
}

/** Whether the database refused the rows themselves: retrying cannot help. */
function isOfData(error: unknown): boolean {
  return storeVerdict(sqlstateOf(error)) === 'data';
}

/**
 * Retries until the ticks are stored. It waits out an outage, a lock or a missing table; a row that the database refuses
 * is found by bisection and reported, and its neighbours are stored.
 *
 * Rejects only when `signal` ends the waiting.
 */
export async function storeTicks(
  store: Pick<StoreClient, 'writeTicks'>,
  ticks: readonly DeliveredTick[],
  calls: ServerCalls,
  signal: AbortSignal,
): Promise<SinkResult> {
  if (ticks.length === 0) return { stored: 0, known: 0, refused: [] };
  let result: TickDataResult;
  try {
    const write = (): Promise<TickDataResult> => store.writeTicks(ticks.map(({ tick }) => tick));
    result = await calls.database(write, signal, (error) => !isOfData(error));
  } catch (error) {
    if (!isOfData(error)) throw error;
    return ticks.length === 1 ? refusedOne(ticks[0], error) : storeHalves(store, ticks, calls, signal);
  }
  const refused = result.conflicts.map((index) => ({
    ...ticks[index],
    reason: 'conflict' as const,
    detail: conflictDetail(ticks[index]),
  }));
  return { stored: result.stored, known: result.known, refused };
}

function conflictDetail({ tick: { provider, notes } }: DeliveredTick): string {
  const detail = 'a tick of this provider, symbol, time and seq is stored with another content, which stays';
  return notes !== undefined && notes.includes('unnumbered')
    ? `${detail}; it says neither seq nor trade_id: declare providers: { ${provider}: { identity: content } }`
    : detail;
}

async function storeHalves(
  store: Pick<StoreClient, 'writeTicks'>,
  ticks: readonly DeliveredTick[],
  calls: ServerCalls,
  signal: AbortSignal,
): Promise<SinkResult> {
  const middle = ticks.length >> 1;
  const first = await storeTicks(store, ticks.slice(0, middle), calls, signal);
  const second = await storeTicks(store, ticks.slice(middle), calls, signal);
  return {
    stored: first.stored + second.stored,
    known: first.known + second.known,
    refused: [...first.refused, ...second.refused],
  };
}

function refusedOne(tick: DeliveredTick, error: unknown): SinkResult {
  const detail = `${sqlstateOf(error)}: ${(error as Error).message}`;
  return { stored: 0, known: 0, refused: [{ ...tick, reason: 'refused_by_database', detail }] };
}
