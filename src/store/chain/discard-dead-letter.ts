import type { Client } from 'pg';
import { isoTime } from '../postgres/time-sql.ts';

export type DiscardOutcome =
  | { kind: 'discarded'; tick: string | null }
  /** it stands in the place of a tick: discarded, that tick would be nowhere */
  | { kind: 'needed'; reason: string }
  | { kind: 'resolved before'; at: string }
  | { kind: 'absent' };

/**
 * Resolves a dead letter `conflict`: another tick of its number is stored and stays. One of any other reason is all
 * there is of a tick.
 * @throws DatabaseError or the connection's error
 */
export async function discardDeadLetter(client: Client, id: bigint): Promise<DiscardOutcome> {
  const discarded = await client.query<{ tick: string | null }>(
    `UPDATE dead_letters SET status = 'resolved', resolved_at = clock_timestamp()
      WHERE dead_letter_id = $1 AND status = 'open' AND reason = 'conflict' RETURNING tick_number AS tick`,
    [id.toString()],
  );
  if (discarded.rows[0] !== undefined) return { kind: 'discarded', tick: discarded.rows[0].tick };
  const { rows } = await client.query<{ reason: string; status: string; at: string | null }>(
    `SELECT reason, status, ${isoTime('resolved_at')} AS at FROM dead_letters WHERE dead_letter_id = $1`,
    [id.toString()],
  );
  if (rows[0] === undefined) return { kind: 'absent' };
  const { reason, status, at } = rows[0];
  return status === 'resolved' ? { kind: 'resolved before', at: at ?? '' } : { kind: 'needed', reason };
}
