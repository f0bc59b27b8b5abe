import type { Client } from 'pg';
import type { Bar } from '../../core/market/bar.ts';
import { BarBuilder } from '../../core/window/bar-builder.ts';
import { prepared } from '../postgres/pooler.ts';
import { microsOf, timeOf } from '../postgres/time-sql.ts';

/** A window of one symbol, µs since 1970, half-open. */
export interface TickWindow {
  provider: string;
  symbol: string;
  startUs: number;
  endUs: number;
}

/** a hot window is read in parts, so that its ticks are never all in memory */
const PAGE_ROWS = 20_000;

const AFTER = timeOf('$3');
const PAGE = `SELECT ${microsOf('ts')} AS us, seq, price, size FROM tick_data
          WHERE provider = $1 AND symbol = $2 AND ts >= ${AFTER} AND (ts, seq) > (${AFTER}, $4::bigint)
            AND ts < ${timeOf('$5')}
          ORDER BY ts, seq LIMIT ${PAGE_ROWS}`;

/** The bar of a window according to tick_data: the set of its distinct ticks. null: there is none. */
export async function barOfTicks(
  client: Client,
  { provider, symbol, startUs, endUs }: TickWindow,
): Promise<Bar | null> {
  const builder = new BarBuilder();
  let after: { us: string; seq: string } = { us: `${startUs}`, seq: '-1' };
  for (;;) {
    const { rows } = await client.query<{ us: string; seq: string; price: number; size: number | null }>({
      ...prepared(client, 'bar_ticks'),
      text: PAGE,
      values: [provider, symbol, after.us, after.seq, endUs],
    });
    for (const { us, seq, price, size } of rows) builder.add(Number(us), BigInt(seq), price, size);
    const last = rows.at(-1);
    if (last === undefined || rows.length < PAGE_ROWS) return builder.bar();
    after = last;
  }
}
