import type { Client } from 'pg';
import { appendArguments, type LogRecord, type SegmentLimits } from './log.ts';

export interface InboxPlace {
  topic: string;
  group: string;
  log: number;
}

/** The first offset that the group has not passed; the group exists (makeGroup). */
export async function cursorOf(client: Client, { topic, group, log }: InboxPlace): Promise<bigint> {
  const { rows } = await client.query<{ next: string }>(
    'SELECT next_offset AS next FROM bus_cursors WHERE topic = $1 AND group_name = $2 AND partition = $3',
    [topic, group, log],
  );
  return BigInt(rows[0]?.next ?? 0);
}

/**
 * Appends the records to their logs and takes the group's cursor from `from` to `to`, in one transaction. False, and nothing
 * is done, when the cursor is elsewhere.
 */
export async function moveRecords(
  client: Client,
  { topic, group, log }: InboxPlace,
  { from, to }: { from: bigint; to: bigint },
  records: readonly LogRecord[],
  limits: SegmentLimits,
): Promise<boolean> {
  const { rows } = await client.query<{ moved: boolean }>(
    'SELECT bus_move($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) AS moved',
    [topic, group, log, from.toString(), to.toString(), ...appendArguments(records, limits).values],
  );
  return rows[0].moved;
}
