import type { Client } from 'pg';
import type { Micros } from '../../core/time.ts';
import { readPage, type Page, type Query } from './query.ts';

const DAY_US = 86_400_000_000n;
/** Spans of time that are tried one after the other, before all of it. */
const SPANS_US = [DAY_US, 30n * DAY_US];

/**
 * A page of the newest rows. Without a bound of time a statement is planned for every chunk of a hypertable, and there may be
 * hundreds; mostly the rows are in the newest ones, so these are asked first.
 *
 * @param before what the rows are mostly not older than: now, or the time of the last row of the page before
 * @param make the rows from a time on; null: all
 * @param needsMore whether it matters that rows follow
 */
export async function readNewest(
  client: Client,
  { before, rowsMax, needsMore }: { before: Micros; rowsMax: number; needsMore: boolean },
  make: (from: Micros | null) => Query,
): Promise<Page> {
  for (const span of SPANS_US) {
    const page = await readPage(client, make(before - span), rowsMax);
    if (page.hasMore || (!needsMore && page.batch.rows === rowsMax)) return page;
  }
  return readPage(client, make(null), rowsMax);
}
