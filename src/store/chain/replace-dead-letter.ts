import { createHash } from 'node:crypto';
import { DatabaseError, type Client } from 'pg';
import { decodeTick } from '../../core/chain/decode.ts';
import { compareTicks, type TickComparison } from '../../core/chain/digest.ts';
import type { TickRows } from '../../core/copy/frame.ts';
import { storeVerdict } from '../../core/retry.ts';
import { BatchError } from '../postgres/pipelined-copy.ts';
import { beginWriting } from '../postgres/pooler.ts';
import { fence } from './ledger.ts';
import { chainWitness } from './witness.ts';
import {
  ATTEMPTS,
  commitSingleTick,
  countAsTick,
  deadLettersInPlaceOf,
  lockSingleTicks,
  readSingleTick,
  resolveSql,
} from './single-tick.ts';

/** What became of a good frame of a number that has nothing but dead letters. Only `stored` changes anything. */
export type Replacement =
  /** brokenLinks: ticks whose link to the one before is broken, and was not known to be */
  | { kind: 'stored'; deadLetters: number; brokenLinks: number }
  /** it was stored meanwhile */
  | { kind: 'equal' }
  | { kind: 'conflict'; comparison: TickComparison }
  /** the database does not accept its rows */
  | { kind: 'refused'; sqlstate: string; detail: string }
  /** no open dead letter stands for the number any more */
  | { kind: 'unwanted' };

/**
 * Stores a good tick in the place of its dead letters (spec P1): its rows, the ledger's count and the status `resolved` are
 * one transaction, under the fence of this epoch. The number is recorded already, so no range changes.
 *
 * Rejects with the database's or the connection's error, MDF01 when the epoch has moved on. Called again after a lost
 * answer it finds what is stored.
 */
export async function replaceDeadLetter(
  client: Client,
  epoch: bigint,
  raw: Uint8Array,
  frame: TickRows,
): Promise<Replacement> {
  for (let attempt = 1; ; attempt += 1) {
    await client.query(beginWriting(client).join('; '));
    try {
      const replacement = await replace(client, epoch, raw, frame);
      if (replacement.kind !== 'stored') await client.query('ROLLBACK');
      return replacement;
    } catch (error) {
      await client.query('ROLLBACK').catch(() => {}); // of a lost connection: `error` reports it
      if (!(error instanceof DatabaseError || error instanceof BatchError)) throw error;
      const verdict = storeVerdict(error.code);
      if (verdict === 'look' && attempt < ATTEMPTS) continue;
      if (verdict !== 'look' && verdict !== 'data') throw error;
      // refused before and after another row passed, it is the tick's own fault
      if (verdict === 'data' && (await chainWitness(client, frame.transactions > 0)) !== 'passes')
        throw error;
      if (verdict === 'data' && attempt === 1) continue;
      return { kind: 'refused', sqlstate: error.code ?? '', detail: error.message };
    }
  }
}

/** Commits when it has stored. */
async function replace(
  client: Client,
  epoch: bigint,
  raw: Uint8Array,
  frame: TickRows,
): Promise<Replacement> {
  const { number: tick, transactions } = frame;
  await lockSingleTicks(client);
  await fence(client, epoch);
  const stored = await readSingleTick(client, tick);
  if (stored === 'in part') return { kind: 'unwanted' };
  if (stored !== null) {
    const comparison = compareTicks(decodeTick(raw), stored);
    return comparison.isEqual ? { kind: 'equal' } : { kind: 'conflict', comparison };
  }
  const deadLetters = (await deadLettersInPlaceOf(client, tick)).length;
  if (deadLetters === 0 || !(await countAsTick(client, tick, transactions))) return { kind: 'unwanted' };
  // an earlier version has kept the good frame as a conflict with its dead letter
  const sameBytes = `raw_sha256 = decode('${createHash('sha256').update(raw).digest('hex')}', 'hex')`;
  const which = `coalesce(tick_number, -1) = ${tick} AND after_tick IS NULL AND status = 'open'
    AND (reason <> 'conflict' OR ${sameBytes})`;
  const brokenLinks = await commitSingleTick(client, frame, [resolveSql(which)]);
  return { kind: 'stored', deadLetters, brokenLinks: brokenLinks.length };
}
