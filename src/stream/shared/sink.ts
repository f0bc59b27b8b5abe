import { isTooMuch, storeVerdict } from '../../core/retry.ts';
import { sqlstateOf } from '../../store/postgres/sqlstate.ts';
import type { DeadLetterReason } from '../../core/market/dead-letter.ts';
import type { TickDataResult } from '../../store/market/tick-data.ts';
import type { Witness } from '../../store/postgres/witness.ts';
import type { ServerCalls } from '../server-calls.ts';
import type { Delivered } from './batch.ts';

/** A tick that cannot be stored. */
export interface RefusedTick<T> extends Delivered<T> {
  reason: DeadLetterReason;
  detail: string;
}

export interface SinkResult<T> {
  stored: number;
  /** already stored with the same content */
  known: number;
  refused: RefusedTick<T>[];
  /** the least number of ticks that was too much for the database at once; null: none was */
  tooMany: number | null;
}

/** A table of ticks. */
export interface TickStore<T> {
  /** in one transaction, each once; rejects with the server's error */
  write(ticks: readonly T[]): Promise<TickDataResult>;
  /** whether the table takes rows at the moment */
  witness(): Promise<Witness>;
  /** said of a tick whose key is stored with another content */
  conflictDetail(tick: T): string;
}

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
export async function storeTicks<T>(
  store: TickStore<T>,
  ticks: readonly Delivered<T>[],
  calls: ServerCalls,
  signal: AbortSignal,
): Promise<SinkResult<T>> {
  const suspects: Delivered<T>[] = [];
  const result = await storeOthers(store, ticks, suspects, calls, signal);
  for (const suspect of suspects) add(result, await judge(store, suspect, calls, signal));
  return result;
}

/** What is refused alone becomes a suspect: there may be nothing yet that speaks against it. */
async function storeOthers<T>(
  store: TickStore<T>,
  ticks: readonly Delivered<T>[],
  suspects: Delivered<T>[],
  calls: ServerCalls,
  signal: AbortSignal,
): Promise<SinkResult<T>> {
  if (ticks.length === 0) return { ...NOTHING, refused: [] };
  let isCut = false;
  let isLate = false;
  const write = async (): Promise<TickDataResult> => {
    try {
      return await store.write(ticks.map(({ tick }) => tick));
    } catch (error) {
      isLate = ticks.length > 1 && isTooMuch(sqlstateOf(error));
      isCut = mayBeOfData(error) && (await store.witness()) !== 'fails';
      throw error;
    }
  };
  try {
    return resultOf(store, ticks, await calls.database(write, signal, () => !isCut && !isLate));
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
async function judge<T>(
  store: TickStore<T>,
  suspect: Delivered<T>,
  calls: ServerCalls,
  signal: AbortSignal,
): Promise<SinkResult<T>> {
  let isProven = false;
  const write = async (): Promise<TickDataResult> => {
    const passesBefore = (await store.witness()) === 'passes';
    try {
      return await store.write([suspect.tick]);
    } catch (error) {
      isProven = passesBefore && mayBeOfData(error) && (await store.witness()) === 'passes';
      throw error;
    }
  };
  try {
    return resultOf(store, [suspect], await calls.database(write, signal, () => !isProven));
  } catch (error) {
    if (!isProven) throw error;
    return refusedOne(suspect, error);
  }
}

function resultOf<T>(
  store: TickStore<T>,
  ticks: readonly Delivered<T>[],
  { stored, known, conflicts }: TickDataResult,
): SinkResult<T> {
  const refused = conflicts.map((index) => ({
    ...ticks[index],
    reason: 'conflict' as const,
    detail: store.conflictDetail(ticks[index].tick),
  }));
  return { ...NOTHING, stored, known, refused };
}

function add<T>(result: SinkResult<T>, { stored, known, refused, tooMany }: SinkResult<T>): void {
  result.stored += stored;
  result.known += known;
  result.refused.push(...refused);
  if (tooMany !== null) result.tooMany = Math.min(tooMany, result.tooMany ?? Infinity);
}

function refusedOne<T>(tick: Delivered<T>, error: unknown): SinkResult<T> {
  const detail = `${sqlstateOf(error)}: ${(error as Error).message}`;
  return { ...NOTHING, refused: [{ ...tick, reason: 'refused_by_database', detail }] };
}
