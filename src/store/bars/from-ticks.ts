import type { Client } from 'pg';
import type { Bar } from '../../core/market/bar.ts';
import { BarBuilder } from '../../core/window/bar-builder.ts';
import { windowEndUs, windowStartUs } from '../../core/window/rollup.ts';
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

interface TickRow {
  us: string;
  seq: string;
  price: number;
  size: number | null;
}

async function* tickPages(
  client: Client,
  { provider, symbol, startUs, endUs }: TickWindow,
): AsyncGenerator<TickRow[]> {
  let after: Pick<TickRow, 'us' | 'seq'> = { us: `${startUs}`, seq: '-1' };
  for (;;) {
    const { rows } = await client.query<TickRow>({
      ...prepared(client, 'bar_ticks'),
      text: PAGE,
      values: [provider, symbol, after.us, after.seq, endUs],
    });
    yield rows;
    const last = rows.at(-1);
    if (last === undefined || rows.length < PAGE_ROWS) return;
    after = last;
  }
}

/** The bar of a window according to tick_data: the set of its distinct ticks. null: there is none. */
export async function barOfTicks(client: Client, window: TickWindow): Promise<Bar | null> {
  const builder = new BarBuilder();
  for await (const rows of tickPages(client, window)) {
    for (const { us, seq, price, size } of rows) builder.add(Number(us), BigInt(seq), price, size);
  }
  return builder.bar();
}

/** The bars of all windows of this length in a range that begins and ends with one; those without ticks are left out. */
export async function* barsOfTicks(
  client: Client,
  range: TickWindow,
  windowMs: number,
): AsyncGenerator<{ startUs: number; bar: Bar }> {
  let window = { startUs: -Infinity, endUs: -Infinity, builder: new BarBuilder() };
  for await (const rows of tickPages(client, range)) {
    for (const { us, seq, price, size } of rows) {
      const at = Number(us);
      if (at >= window.endUs) {
        const bar = window.builder.bar();
        if (bar !== null) yield { startUs: window.startUs, bar };
        const startUs = windowStartUs(at, windowMs);
        window = { startUs, endUs: windowEndUs(startUs, windowMs), builder: new BarBuilder() };
      }
      window.builder.add(at, BigInt(seq), price, size);
    }
  }
  const bar = window.builder.bar();
  if (bar !== null) yield { startUs: window.startUs, bar };
}

/** How many ticks a range has. */
export async function countTicks(
  client: Client,
  { provider, symbol, startUs, endUs }: TickWindow,
): Promise<number> {
  const { rows } = await client.query<{ n: string }>(
    `SELECT count(*) AS n FROM tick_data
      WHERE provider = $1 AND symbol = $2 AND ts >= ${timeOf('$3')} AND ts < ${timeOf('$4')}`,
    [provider, symbol, startUs, endUs],
  );
  return Number(rows[0]?.n);
}
