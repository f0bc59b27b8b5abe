import type { Client } from 'pg';
import type { Tick } from '../../core/chain/tick.ts';
import { underFence } from './ledger.ts';
import { readStoredTicks } from './stored-ticks.ts';
import { inSnapshot } from '../postgres/transaction.ts';

/** What the store has for a number: the tick, or the frame that became a dead letter instead, or neither. */
export interface Counterpart {
  tick: Tick | null;
  /** sha256 of the raw frames kept as dead letters of this number, conflicts excluded */
  deadLetters: Buffer[];
}

export interface ConflictDeadLetter {
  tickNumber: bigint;
  detail: string;
  raw: Uint8Array;
  /** digest of what is stored, 32 bytes */
  storedDigest: Uint8Array;
}

/** Numbers that the store does not have are absent. One snapshot. */
export async function readCounterparts(
  client: Client,
  numbers: readonly bigint[],
): Promise<Map<bigint, Counterpart>> {
  return inSnapshot(client, async () => {
    // as many rows as numbers: without statistics the planner may assume that it needs the whole table
    await client.query('SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off');
    const stored = await readStoredTicks(client, numbers);
    const deadLetters = await client.query<{ tick_number: string; raw_sha256: Buffer }>(
      `SELECT tick_number, raw_sha256 FROM dead_letters
        WHERE coalesce(tick_number, -1) = ANY ($1::numeric[]) AND reason <> 'conflict'`,
      [numbers.map(String)],
    );
    const found = new Map<bigint, Counterpart>();
    for (const [number, tick] of stored) found.set(number, { tick, deadLetters: [] });
    for (const row of deadLetters.rows) {
      const number = BigInt(row.tick_number);
      const counterpart = found.get(number) ?? { tick: null, deadLetters: [] };
      counterpart.deadLetters.push(row.raw_sha256);
      found.set(number, counterpart);
    }
    return found;
  });
}

/** Keeps frames that differ from what is stored; the stored rows stay unchanged. Once for each frame. */
export async function recordConflicts(
  client: Client,
  epoch: bigint,
  deadLetters: readonly ConflictDeadLetter[],
): Promise<void> {
  await underFence(client, epoch, async () => {
    for (const { tickNumber, detail, raw, storedDigest } of deadLetters) {
      await client.query(
        `INSERT INTO dead_letters (tick_number, reason, detail, raw, raw_sha256, stored_sha256, epoch)
         VALUES ($1, 'conflict', $2, $3, sha256($3), $4, $5) ON CONFLICT DO NOTHING`,
        [tickNumber.toString(), detail, Buffer.from(raw), Buffer.from(storedDigest), epoch.toString()],
      );
    }
  });
}
