import type { Client } from 'pg';

/** Which ticks the store answers for. */
export interface Extent {
  /** lowest tick that can be asked for, null before the first one */
  floor: bigint | null;
  /** end of what is recorded without a hole, gaps counted; null when nothing is */
  position: bigint | null;
}

/** Reads one statement, also on a standby. */
export async function readExtent(client: Client): Promise<Extent> {
  const { rows } = await client.query<{ origin: string | null; position: string | null }>(
    'SELECT origin, "position" FROM ingest_position()',
  );
  const { origin, position } = rows[0]; // always one row
  return {
    floor: origin === null ? null : BigInt(origin), // retention, once there is one, raises it to the lowest stored tick
    position: position === null ? null : BigInt(position),
  };
}
