import { DatabaseError, type Client } from 'pg';

/** How long dropping a segment waits for its readers: new readers queue behind it. */
const DROP_WAIT = '500ms';
const LOCK_NOT_AVAILABLE = '55P03';

/** Trims all partitions of a topic; returns how many records. Their segments remain (see dropTrimmed). */
export async function trimTopic(
  client: Client,
  topic: string,
  policy: { acknowledgedMs: number; retentionMs: number },
): Promise<number> {
  const { rows } = await client.query<{ trimmed: string }>(
    'SELECT bus_trim(topic, partition, $2, $3) AS trimmed FROM bus_logs WHERE topic = $1',
    [topic, Math.round(policy.acknowledgedMs), Math.round(policy.retentionMs)],
  );
  return rows.reduce((sum, { trimmed }) => sum + Number(trimmed), 0);
}

export interface DroppedSegments {
  dropped: number;
  /** a reader has it for longer than a drop may wait: left for the next time */
  inUse: number;
}

/** Drops fully trimmed segments, each in its own transaction. */
export async function dropTrimmed(client: Client, topic: string): Promise<DroppedSegments> {
  const { rows } = await client.query<{ id: string }>('SELECT bus_trimmed_segments($1) AS id', [topic]);
  const result: DroppedSegments = { dropped: 0, inUse: 0 };
  for (const { id } of rows) {
    try {
      await client.query('BEGIN');
      await client.query(`SET LOCAL lock_timeout = '${DROP_WAIT}'`);
      await client.query('SELECT bus_drop_segment($1)', [id]);
      await client.query('COMMIT');
      result.dropped += 1;
    } catch (error) {
      if (!(error instanceof DatabaseError) || error.code !== LOCK_NOT_AVAILABLE) throw error;
      await client.query('ROLLBACK');
      result.inUse += 1;
    }
  }
  return result;
}

/** Size of all segments on disk. */
export async function segmentBytes(client: Client): Promise<number> {
  const { rows } = await client.query<{ bytes: string }>('SELECT bus_bytes() AS bytes');
  return Number(rows[0].bytes);
}
