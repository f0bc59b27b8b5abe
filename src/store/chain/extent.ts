import type { Client } from 'pg';
import { readChainFloor } from '../retention/chain.ts';

/** Which ticks the store answers for. */
export interface Extent {
  /** lowest tick that can be asked for, null before the first one */
  floor: bigint | null;
  /** end of what is recorded without a hole, gaps counted; null when nothing is */
  position: bigint | null;
}

/** Also on a standby. */
export async function readExtent(client: Client): Promise<Extent> {
  const dropped = await readChainFloor(client);
  const { rows } = await client.query<{ origin: string | null; position: string | null }>(
    'SELECT origin, "position" FROM ingest_position()',
  );
  const { origin, position } = rows[0]; // always one row
  const first = origin === null ? null : BigInt(origin);
  return {
    floor: first !== null && dropped !== null && dropped > first ? dropped : first,
    position: position === null ? null : BigInt(position),
  };
}
