import { isTooMuch, storeVerdict } from '../../core/retry.ts';
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
  /** the least number of ticks that was too much for the database at once; null: none was */
  tooMany: number | null;
}

type TickStore = Pick<StoreClient, 'writeTicks' | 'tickWitness'>;

const NOTHING = { stored: 0, known: 0, tooMany: null };

/** Whether the database refused the rows for what may be their own fault. */
function mayBeOfData(error: unknown): boolean {
  return storeVerdict(sqlstateOf(error)) === 'data';
}

/**
 * Retries until the ticks are stored. It waits out an outage, a lock or a missing table, and a refusal while the database
 * takes no row that it took before. A row that it refuses while another one passes is found by bisection and reported;
 * its neighbours are stored. What is too much at once is halved.
 *
 * Rejects only when `signal` ends the waiting.
 */
export async function storeTicks(
  store: TickStore,
  ticks: readonly DeliveredTick[],
  calls: ServerCalls,
  signal: AbortSignal,
): Promise<SinkResult> {
  const suspects: DeliveredTick[] = [];
  const result = await storeOthers(store, ticks, suspects, calls, signal);
  for (const suspect of suspects) add(result, await judge(store, suspect, calls, signal));
  return result;
}

/** What is refused alone becomes a suspect: there may be nothing yet that speaks against it. */
async function storeOthers(
  store: TickStore,
  ticks: readonly DeliveredTick[],
  suspects: DeliveredTick[],
  calls: ServerCalls,
  signal: AbortSignal,
): Promise<SinkResult> {
  if (ticks.length === 0) return { ...NOTHING, refused: [] };
  let isCut = false;
  let isLate = false;
  const write = async (): Promise<TickDataResult> => {
    try {
      return await store.writeTicks(ticks.map(({ tick }) => tick));
    } catch (error) {
      isLate = ticks.length > 1 && isTooMuch(sqlstateOf(error));
      isCut = mayBeOfData(error) && (await store.tickWitness()) !== 'fails';
      throw error;
    }
  };
  try {
    return resultOf(ticks, await calls.database(write, signal, () => !isCut && !isLate));
  } catch (error) {
    if (!isCut && !isLate) throw error;
  }
  if (ticks.length === 1) {
    suspects.push(ticks[0]);
    return { ...NOTHING, refused: [] };
  }
  const middle = ticks.length >> 1;
  const result = await storeOthers(store, ticks.slice(0, middle), suspects, calls, signal);
  add(result, await storeOthers(store, ticks.slice(middle), suspects, calls, signal));
  if (isLate) result.tooMany ??= ticks.length;
  return result;
}

/** Stored after all, or refused while another row passes before and after it. */
async function judge(
  store: TickStore,
  suspect: DeliveredTick,
  calls: ServerCalls,
  signal: AbortSignal,
): Promise<SinkResult> {
  let isProven = false;
  const write = async (): Promise<TickDataResult> => {
    const passesBefore = (await store.tickWitness()) === 'passes';
    try {
      return await store.writeTicks([suspect.tick]);
    } catch (error) {
      isProven = passesBefore && mayBeOfData(error) && (await store.tickWitness()) === 'passes';
      throw error;
    }
  };
  try {
    return resultOf([suspect], await calls.database(write, signal, () => !isProven));
  } catch (error) {
    if (!isProven) throw error;
    return refusedOne(suspect, error);
  }
}

function resultOf(ticks: readonly DeliveredTick[], { stored, known, conflicts }: TickDataResult): SinkResult {
  const refused = conflicts.map((index) => ({
    ...ticks[index],
    reason: 'conflict' as const,
    detail: conflictDetail(ticks[index]),
  }));
  return { ...NOTHING, stored, known, refused };
}

function add(result: SinkResult, { stored, known, refused, tooMany }: SinkResult): void {
  result.stored += stored;
  result.known += known;
  result.refused.push(...refused);
  if (tooMany !== null) result.tooMany = Math.min(tooMany, result.tooMany ?? Infinity);
}

function conflictDetail({ tick: { provider, notes } }: DeliveredTick): string {
  const detail = 'a tick of this provider, symbol, time and seq is stored with another content, which stays';
  return notes !== undefined && notes.includes('unnumbered')
    ? `${detail}; it says neither seq nor trade_id: declare providers: { ${provider}: { identity: content } }`
    : detail;
}

function refusedOne(tick: DeliveredTick, error: unknown): SinkResult {
  const detail = `${sqlstateOf(error)}: ${(error as Error).message}`;
  return { ...NOTHING, refused: [{ ...tick, reason: 'refused_by_database', detail }] };
}
