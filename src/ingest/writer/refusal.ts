import type { Client } from 'pg';
import { tickDigest } from '../../core/chain/digest.ts';
import { storeVerdict, type StoreVerdict } from '../../core/retry.ts';
import type { BatchWrite } from '../../store/chain/batch.ts';
import { readStoredTicks } from '../../store/chain/stored-ticks.ts';
import { chainWitness } from '../../store/chain/witness.ts';
import type { BatchError } from '../../store/postgres/pipelined-copy.ts';
import { answerWithin } from '../../store/postgres/session.ts';
import type { Witness } from '../../store/postgres/witness.ts';

/**
 * The database refuses rows of this batch, and the ledger does not have it: smaller batches will isolate them. Only
 * errors that depend on the rows become an outcome; all others are retried.
 */
export interface Refusal {
  kind: 'refused';
  sqlstate: string;
  message: string;
  /** of a one-tick batch whose tick is already there although no ledger row covers it: what is stored */
  stored: StoredCopy | null;
  /**
   * Of a one-tick batch: nothing is stored that could show whether the tables take any row at the moment. What else is at
   * hand goes first.
   */
  isUnproven?: boolean;
}

export interface StoredCopy {
  /** canonical digest */
  sha256: Uint8Array;
  transactions: number;
}

/** Whether another row passes where this tick is refused; null: not asked, as neither smaller batches nor the tick are accused. */
export function witnessOf(
  client: Client,
  { range, transactions }: BatchWrite,
  refusal: BatchError,
  answerMs: number,
): Promise<Witness | null> {
  const isTick = range !== null && range.first === range.last;
  if (!isTick || storeVerdict(refusal.code) !== 'data') return Promise.resolve(null);
  return answerWithin(chainWitness(client, transactions > 0), answerMs);
}

/** A duplicate key: somebody may have inserted this very tick by hand. */
export async function storedCopy(
  client: Client,
  { range }: BatchWrite,
  refusal: BatchError,
  answerMs: number,
): Promise<StoredCopy | null> {
  if (storeVerdict(refusal.code) !== 'look' || range === null || range.first !== range.last) return null;
  const found = await answerWithin(readStoredTicks(client, [range.first]), answerMs);
  const tick = found.get(range.first);
  return tick === undefined ? null : { sha256: tickDigest(tick), transactions: tick.transactions.length };
}

export function refused(
  { code = '', message }: BatchError,
  stored: StoredCopy | null,
  isUnproven: boolean,
): Refusal {
  return { kind: 'refused', sqlstate: code, message, stored, isUnproven };
}

/**
 * Whether the database refuses the rows themselves, so that smaller transactions get further: the COPYs or the COMMIT
 * (deferred constraints) failed with a data error, or part of the range is in the ledger and the rest is not. Smaller
 * transactions would not fix an error of a dead letter, of the ledger or of the schema.
 */
export function liesInRows(error: BatchError, verdict: StoreVerdict, { ticks, range }: BatchWrite): boolean {
  if (error.stage === 'rows' || error.stage === 'commit') {
    return ticks > 0 && (verdict === 'data' || verdict === 'look');
  }
  return error.stage === 'before' && verdict === 'look' && range !== null && range.first < range.last;
}
