import type { Client } from 'pg';
import type { Tick } from '../../core/chain/tick.ts';
import { fence } from './ledger.ts';
import { lockSingleTicks } from './single-tick.ts';
import { readStoredTicks } from './stored-ticks.ts';
import { inSnapshot, inTransaction } from '../postgres/transaction.ts';

/** What the store has for a number: the tick, or the frames that became dead letters instead, or neither. */
export interface Counterpart {
  tick: Tick | null;
  /** conflicts excluded */
  deadLetters: KeptFrame[];
}

/** A raw frame that was kept as a dead letter. */
export interface KeptFrame {
  sha256: Buffer;
  isOpen: boolean;
}

/** A frame that came again, to be kept beside what its number has already. */
export interface RepeatedDeadLetter {
  tickNumber: bigint;
  reason: string;
  detail: string;
  /** of the database's refusal */
  sqlstate: string | null;
  raw: Uint8Array;
  /** reason conflict: digest of what is stored, 32 bytes */
  storedDigest: Uint8Array | null;
}

/** Numbers that the store does not have are absent. One snapshot. */
export async function readCounterparts(
  client: Client,
  numbers: readonly bigint[],
): Promise<Map<bigint, Counterpart>> {
  return inSnapshot(client, async () => {
    // as many rows as numbers: without statistics the planner may assume that it needs the whole table
    await client.query(
      'SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL jit = off',
    );
    const stored = await readStoredTicks(client, numbers);
    const deadLetters = await client.query<{ tick_number: string; raw_sha256: Buffer; status: string }>(
      `SELECT tick_number, raw_sha256, status FROM dead_letters
        WHERE coalesce(tick_number, -1) = ANY ($1::numeric[]) AND after_tick IS NULL AND reason <> 'conflict'`,
      [numbers.map(String)],
    );
    const found = new Map<bigint, Counterpart>();
    for (const [number, tick] of stored) found.set(number, { tick, deadLetters: [] });
    for (const { tick_number, raw_sha256: sha256, status } of deadLetters.rows) {
      const number = BigInt(tick_number);
      const counterpart = found.get(number) ?? { tick: null, deadLetters: [] };
      counterpart.deadLetters.push({ sha256, isOpen: status === 'open' });
      found.set(number, counterpart);
    }
    return found;
  });
}

/**
 * Keeps each frame once; what is stored stays unchanged, and so do the ledger's counts. A bad frame of a stored tick leaves
 * nothing to be done: it is resolved from the start.
 */
export async function recordDeadLetters(
  client: Client,
  epoch: bigint,
  deadLetters: readonly RepeatedDeadLetter[],
): Promise<void> {
  await inTransaction(client, async () => {
    await lockSingleTicks(client);
    await fence(client, epoch);
    for (const { tickNumber, reason, detail, sqlstate, raw, storedDigest } of deadLetters) {
      await client.query(
        `INSERT INTO dead_letters
           (tick_number, reason, detail, sqlstate, raw, raw_sha256, stored_sha256, epoch, status, resolved_at)
         SELECT $1::bigint, $2::text, $3::text, $4::text, $5::bytea, sha256($5::bytea), $6::bytea, $7::bigint,
                CASE WHEN done THEN 'resolved' ELSE 'open' END, CASE WHEN done THEN clock_timestamp() END
           FROM (SELECT $2::text <> 'conflict' AND EXISTS (SELECT FROM vdf_proofs WHERE tick_number = $1::bigint) AS done) s
         ON CONFLICT DO NOTHING`,
        [
          tickNumber.toString(),
          reason,
          detail,
          sqlstate,
          Buffer.from(raw),
          storedDigest === null ? null : Buffer.from(storedDigest),
          epoch.toString(),
        ],
      );
    }
  });
}

/** Numbers of which there is nothing but an open dead letter, in order: those of the newest, at most `limit`. */
export async function readDeadNumbers(client: Client, limit: number): Promise<bigint[]> {
  const { rows } = await client.query<{ tick_number: string }>(
    `SELECT DISTINCT tick_number FROM (
       SELECT tick_number FROM dead_letters
        WHERE status = 'open' AND tick_number IS NOT NULL AND after_tick IS NULL AND reason <> 'conflict'
        ORDER BY created_at DESC LIMIT $1) d ORDER BY 1`,
    [limit],
  );
  return rows.map((row) => BigInt(row.tick_number));
}
