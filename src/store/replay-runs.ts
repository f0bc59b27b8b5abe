import type { Client } from 'pg';
import { microsOf } from './bar-sql.ts';

/** The range of a replay that repairs bars, µs since 1970, half-open. */
export interface Repair {
  startUs: number;
  endUs: number;
}

/** Which of these runs repair live bars: job_runs.metadata says `"repair": true`, with `start` and `end` as ISO-8601. */
export async function readRepairs(client: Client, runIds: readonly bigint[]): Promise<Map<bigint, Repair>> {
  const { rows } = await client.query<{ id: string; start_us: string; end_us: string }>(
    `SELECT id, ${microsOf(`(metadata->>'start')::timestamptz`)} AS start_us, ${microsOf(`(metadata->>'end')::timestamptz`)} AS end_us
       FROM job_runs WHERE id = ANY($1::bigint[]) AND job_name = 'tick_replay' AND metadata->'repair' = 'true'
        AND metadata->>'start' IS NOT NULL AND metadata->>'end' IS NOT NULL`,
    [runIds.map(String)],
  );
  return new Map(
    rows.map(({ id, start_us: startUs, end_us: endUs }) => [
      BigInt(id),
      { startUs: Number(startUs), endUs: Number(endUs) },
    ]),
  );
}
