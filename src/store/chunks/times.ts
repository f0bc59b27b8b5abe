import type { Client } from 'pg';
import type { TickRange } from '../../core/ingest/ranges.ts';
import { TIME_COLUMNS, type TimedTable } from './chunk-map.ts';

/** Sessions whose database has chain_times() (schema/008), or not. */
const known = new WeakMap<Client, boolean>();

/** Times between which the rows of tick numbers lie. */
export interface ChainTimes {
  /** to be added to a WHERE: ` AND … AND …`; '' where there is no bound */
  and(table: TimedTable): string;
  /** there is none: a plain table, few chunks, or a schema without the function */
  isUnbound: boolean;
}

/** Everywhere. */
export const UNBOUND: ChainTimes = { and: () => '', isUnbound: true };

/**
 * For a few numbers that lie near each other: found by a search, some ms. Whoever knows that a tick is stored and does not find
 * it within the bounds looks again without them (schema/008 says why).
 */
export async function chainTimes(client: Client, { first, last }: TickRange): Promise<ChainTimes> {
  if (!(await isKnown(client))) return UNBOUND;
  const { rows } = await client.query<Record<'from' | 'to', string>>(
    'SELECT from_time::text AS from, to_time::text AS to FROM chain_times($1, $2)',
    [first.toString(), last.toString()],
  );
  const { from, to } = rows[0];
  if (from === '-infinity' && to === 'infinity') return UNBOUND;
  return {
    and: (table) =>
      ` AND ${TIME_COLUMNS[table]} >= timestamptz '${from}' AND ${TIME_COLUMNS[table]} < timestamptz '${to}'`,
    isUnbound: false,
  };
}

/** Whether every tick of a range that has a proof is within the times, and so are its transactions. */
export async function holdAll(
  client: Client,
  times: ChainTimes,
  { first, last }: TickRange,
): Promise<boolean> {
  if (times.isUnbound) return true;
  const { rows } = await client.query<{ all: boolean }>(
    `SELECT (SELECT count(*) FROM ticks WHERE tick_number BETWEEN $1 AND $2${times.and('ticks')}) =
            (SELECT count(*) FROM vdf_proofs WHERE tick_number BETWEEN $1 AND $2) AS all`,
    [first.toString(), last.toString()],
  );
  return rows[0].all;
}

async function isKnown(client: Client): Promise<boolean> {
  const before = known.get(client);
  if (before !== undefined) return before;
  const { rows } = await client.query<{ found: boolean }>(
    "SELECT to_regprocedure('chain_times(bigint, bigint)') IS NOT NULL AS found",
  );
  known.set(client, rows[0].found);
  return rows[0].found;
}
