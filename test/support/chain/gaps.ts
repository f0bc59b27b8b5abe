import type { Client } from 'pg';
import type { IngestHarness } from './harness.ts';

export interface GapRow {
  first: bigint;
  last: bigint;
  state: string;
  attempts: number;
  error: string | null;
  waits: boolean;
}

export async function gapRows(client: Client): Promise<GapRow[]> {
  const { rows } = await client.query<Record<string, string>>(
    `SELECT first_tick AS first, last_tick AS last, state, attempts, last_error AS error,
       next_attempt_at IS NOT NULL AS waits FROM ingest_gaps ORDER BY first_tick`,
  );
  return rows.map(
    (row) => ({ ...row, first: BigInt(row['first']), last: BigInt(row['last']) }) as unknown as GapRow,
  );
}

export const fates = (rows: readonly GapRow[]): [bigint, bigint, string][] =>
  rows.map(({ first, last, state }) => [first, last, state]);
export const multiples = (of: bigint, last: bigint): bigint[] =>
  Array.from({ length: Number(last / of) }, (_, at) => BigInt(at + 1) * of);
export const faults = (...texts: string[]): string[] => texts.flatMap((text) => ['--fault', text]);
/** numbers that GetTick was asked for, in order */
export const asked = (harness: IngestHarness): bigint[] =>
  harness.sim.log().flatMap((event) => (event.event === 'get_tick' ? [BigInt(event.tick!)] : []));
