import { DatabaseError, type Client } from 'pg';

/** How long dropping a segment waits for its readers: new readers queue behind it. */
const DROP_WAIT = '500ms';
const LOCK_NOT_AVAILABLE = '55P03';

/**
 * Trims a log up to offsets that are included: `acknowledged` where the topic has groups, which keep what they need, and
 * `unclaimed` where it has none; null: nothing. Returns how many records. Their segments remain (see dropTrimmed).
 */
export async function trimLog(
  client: Client,
  topic: string,
  log: number,
  { acknowledged, unclaimed }: { acknowledged: bigint | null; unclaimed: bigint | null },
): Promise<number> {
  const { rows } = await client.query<{ trimmed: string }>('SELECT bus_trim_to($1, $2, $3, $4) AS trimmed', [
    topic,
    log,
    acknowledged?.toString() ?? null,
    unclaimed?.toString() ?? null,
  ]);
  return Number(rows[0].trimmed);
}

/** Offset of the newest record of each log of a topic that ever had one. */
export async function lastOffsets(client: Client, topic: string): Promise<{ log: number; offset: bigint }[]> {
  const { rows } = await client.query<{ log: number; next: string }>(
    'SELECT partition AS log, next_offset AS next FROM bus_logs WHERE topic = $1 AND next_offset > 0',
    [topic],
  );
  return rows.map(({ log, next }) => ({ log, offset: BigInt(next) - 1n }));
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

/** About what the records of each topic that are not trimmed take on disk. */
export async function topicBytes(client: Client): Promise<Map<string, number>> {
  const { rows } = await client.query<{ topic: string; bytes: string }>(
    'SELECT topic, bytes FROM bus_topic_bytes()',
  );
  return new Map(rows.map(({ topic, bytes }) => [topic, Number(bytes)]));
}

/** Size of all segments on disk. */
export async function segmentBytes(client: Client): Promise<number> {
  const { rows } = await client.query<{ bytes: string }>('SELECT bus_bytes() AS bytes');
  return Number(rows[0].bytes);
}
