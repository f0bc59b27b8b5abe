import type { Client } from 'pg';
import { floorDivide, type Micros } from '../../core/time.ts';
import { betweenTimes, timeOf } from '../postgres/time-sql.ts';

const MINUTE_US = 60_000_000n;

/** A minute of a symbol, by its start, µs. */
export interface RangeMinute {
  symbol: string;
  start: Micros;
}

/** The start of the minute that a time is in. */
export function minuteOf(micros: Micros): Micros {
  return floorDivide(micros, MINUTE_US) * MINUTE_US;
}

/**
 * Recomputes the rows of md_ranges for these minutes from md_ticks. To be called in the transaction that adds ticks, after
 * that: two writers of a symbol then wait for each other, and the later one sees the ticks of the earlier one. The locks are
 * taken in the order of their keys, which symbols may share: nobody deadlocks.
 */
export async function recomputeRanges(client: Client, minutes: readonly RangeMinute[]): Promise<void> {
  if (minutes.length === 0) return;
  const symbols = minutes.map(({ symbol }) => symbol);
  await client.query(
    `SELECT pg_advisory_xact_lock(key)
       FROM (SELECT DISTINCT hashtext(symbol) AS key FROM unnest($1::text[]) AS symbol ORDER BY key) AS keys`,
    [symbols],
  );
  // READ COMMITTED: a statement of its own sees what was committed while it waited for the locks
  const starts = minutes.map(({ start }) => start);
  const from = starts.reduce((a, b) => (a < b ? a : b));
  const to = starts.reduce((a, b) => (a > b ? a : b)) + MINUTE_US;
  const ofMinute = `d.symbol = m.symbol AND d.ts >= m.start AND d.ts < m.start + interval '1 minute' AND ${betweenTimes('d.ts', from, to)}`;
  const edge = (order: 'ASC' | 'DESC'): string =>
    `(SELECT d.price FROM md_ticks d WHERE ${ofMinute} ORDER BY d.ts ${order}, d.source ${order}, d.seq ${order} LIMIT 1)`;
  await client.query(
    `INSERT INTO md_ranges AS r (symbol, "window", agg)
     SELECT m.symbol, m."window", jsonb_build_object('open', ${edge('ASC')}, 'high', a.high, 'low', a.low,
              'close', ${edge('DESC')}, 'volume', a.volume, 'count', a.count)
       FROM (SELECT symbol, ${timeOf('us')} AS start, tstzrange(${timeOf('us')}, ${timeOf('us')} + interval '1 minute') AS "window"
               FROM unnest($1::text[], $2::bigint[]) AS given (symbol, us) ORDER BY symbol, us) m
       CROSS JOIN LATERAL (
         SELECT max(d.price) AS high, min(d.price) AS low, sum(d.volume) AS volume, count(*) AS count
           FROM md_ticks d WHERE ${ofMinute} OFFSET 0) a
      WHERE a.count > 0 AND NOT EXISTS (
        SELECT FROM md_ranges w WHERE w.symbol = m.symbol AND w."window" && m."window" AND w."window" <> m."window")
     ON CONFLICT (symbol, "window") DO UPDATE SET agg = excluded.agg WHERE r.agg IS DISTINCT FROM excluded.agg`,
    [symbols, starts.map(String)],
  );
}
