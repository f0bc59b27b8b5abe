import { createHash } from 'node:crypto';
import type { Client } from 'pg';

/** A row of dead_letters; the raw bytes by their digest and length. */
export interface DeadLetter {
  tick_number: string | null;
  after_tick: string | null;
  reason: string;
  detail: string;
  sqlstate: string | null;
  digest: string;
  length: number;
  status: string;
  /** digest of the stored tick beside it */
  stored: string | null;
}

/** All of them, in the order of the chain. */
export async function deadLetters(client: Client): Promise<DeadLetter[]> {
  const { rows } = await client.query<DeadLetter>(
    `SELECT tick_number, after_tick, reason, detail, sqlstate, encode(sha256(raw), 'hex') AS digest,
       length(raw) AS length, status, encode(stored_sha256, 'hex') AS stored
       FROM dead_letters ORDER BY coalesce(tick_number, after_tick + 1)`,
  );
  return rows;
}

/** sha256 of a frame, hex digits. */
export function digest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
