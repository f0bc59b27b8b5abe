import type { Client } from 'pg';
import { dayOf } from '../../core/retention.ts';
import type { Micros } from '../../core/time.ts';
import { timeOf } from '../postgres/time-sql.ts';
import { dropBefore, type MarketRule } from './market.ts';
import { exists, ROWS_PER_DELETE, type Hypertables, type Round } from './round.ts';

const MD_TICKS = { table: 'md_ticks', series: ['symbol'] };
const RANGES = 'md_ranges';

/**
 * Ticks of the webhook by their time, whole days, and the ranges of those days: a range is what the stored ticks of its minute
 * amount to, so a tick that comes late into a dropped minute must not find the sum of those that are gone.
 */
export async function dropMdTicks(client: Client, known: Hypertables, rule: MarketRule): Promise<Round> {
  const { mdTicksMs } = rule.ages;
  const round: Round = { dropped: [], heldBack: [] };
  if (mdTicksMs === null || !(await exists(client, MD_TICKS.table))) return round;
  const cut = dayOf(rule.nowMicros - BigInt(Math.round(mdTicksMs * 1000)));
  round.dropped.push(...(await dropBefore(client, known, MD_TICKS, cut)));
  // also of a round that ended between the two
  const rows = await deleteRanges(client, cut);
  if (rows > 0) round.dropped.push({ table: RANGES, chunks: 0, rows });
  return round;
}

/** By the key, in whose order a window comes by its beginning; some thousand per transaction. */
async function deleteRanges(client: Client, cut: Micros): Promise<number> {
  const { rows: symbols } = await client.query<{ symbol: string }>(
    `WITH RECURSIVE symbols AS (
       (SELECT symbol FROM ${RANGES} ORDER BY symbol LIMIT 1)
       UNION ALL
       SELECT n.symbol FROM symbols s CROSS JOIN LATERAL (
         SELECT r.symbol FROM ${RANGES} r WHERE r.symbol > s.symbol ORDER BY r.symbol LIMIT 1) n)
     SELECT symbol FROM symbols`,
  );
  let rows = 0;
  for (const { symbol } of symbols) {
    for (;;) {
      const { rowCount } = await client.query(
        `DELETE FROM ${RANGES} WHERE symbol = $1 AND "window" IN (
           SELECT "window" FROM ${RANGES} WHERE symbol = $1 AND "window" < tstzrange(${timeOf('$2')}, ${timeOf('$2')}, '[]')
             AND upper("window") <= ${timeOf('$2')} ORDER BY "window" LIMIT ${ROWS_PER_DELETE})`,
        [symbol, cut.toString()],
      );
      rows += rowCount ?? 0;
      if ((rowCount ?? 0) < ROWS_PER_DELETE) break;
    }
  }
  return rows;
}
