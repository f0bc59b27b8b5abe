import type { Client } from 'pg';
import { parseIsoMicros } from '../../core/time.ts';

/** The range of a replay that repairs bars, µs since 1970, half-open. */
export interface Repair {
  startUs: number;
  endUs: number;
}

/**
 * Which of these runs repair live bars: job_runs.metadata has `"repair": true`, with `start` and `end` as ISO-8601. A
 * run whose times do not parse repairs nothing.
 */
export async function readRepairs(client: Client, runIds: readonly bigint[]): Promise<Map<bigint, Repair>> {
  const { rows } = await client.query<{ id: string; start: string | null; end: string | null }>(
    `SELECT id, metadata->>'start' AS start, metadata->>'end' AS "end"
       FROM job_runs WHERE id = ANY($1::bigint[]) AND job_name = 'tick_replay' AND metadata->'repair' = 'true'`,
    [runIds.map(String)],
  );
  const repairs = new Map<bigint, Repair>();
  for (const { id, start, end } of rows) {
    const startUs = microsOrNull(start);
    const endUs = microsOrNull(end);
    if (startUs !== null && endUs !== null) repairs.set(BigInt(id), { startUs, endUs });
  }
  return repairs;
}

function microsOrNull(text: string | null): number | null {
  try {
    return text === null ? null : Number(parseIsoMicros(text));
  } catch {
    return null;
  }
}
