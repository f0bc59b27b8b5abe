import type { Client } from 'pg';

/** One row for each minute whose range is not what the ticks of md_ticks make of it, or that only one of both has. */
export async function differingRanges(client: Client): Promise<unknown[]> {
  const { rows } = await client.query(
    `WITH minutes AS (
       SELECT symbol, date_trunc('minute', ts, 'UTC') AS minute,
              (array_agg(price ORDER BY ts, source, seq))[1] AS open, max(price) AS high, min(price) AS low,
              (array_agg(price ORDER BY ts DESC, source DESC, seq DESC))[1] AS close, sum(volume) AS volume, count(*) AS count
         FROM md_ticks GROUP BY 1, 2),
     stored AS (
       SELECT symbol, lower("window") AS minute, upper("window") - lower("window") AS length, (agg->>'open')::numeric AS open,
              (agg->>'high')::numeric AS high, (agg->>'low')::numeric AS low, (agg->>'close')::numeric AS close,
              (agg->>'volume')::numeric AS volume, (agg->>'count')::bigint AS count
         FROM md_ranges)
     SELECT symbol, minute::text FROM minutes m FULL JOIN stored s USING (symbol, minute)
      WHERE s.length IS DISTINCT FROM interval '1 minute'
         OR (m.open, m.high, m.low, m.close, m.volume, m.count) IS DISTINCT FROM (s.open, s.high, s.low, s.close, s.volume, s.count)
      LIMIT 10`,
  );
  return rows as unknown[];
}
