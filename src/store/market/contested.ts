import type { Client } from 'pg';
import { microsOf, timeOf } from '../postgres/time-sql.ts';

/** A tick that the writer of tick_data put aside. */
export interface ContestedTick {
  provider: string;
  symbol: string;
  /** µs since 1970 */
  srcTs: bigint;
  /** no tick of its id is stored */
  isMissing: boolean;
}

/** A minute of a symbol, µs since 1970, half-open. */
export interface ContestedMinute {
  provider: string;
  symbol: string;
  startUs: number;
  endUs: number;
}

/** Where a reader of contested_minutes is: the last row of a transaction that it read. */
export interface ContestedCursor {
  tx: string;
  provider: string;
  symbol: string;
  startUs: number;
}

export interface ContestedPage {
  minutes: ContestedMinute[];
  /** behind them */
  cursor: ContestedCursor;
  /** there are no more at present */
  isEnd: boolean;
}

const MINUTE_US = 60_000_000n;
const PAGE_ROWS = 1_000;
/** Rows that every partition has read are kept for this long for bars that are still to be recomputed … */
const KEPT = "interval '1 day'";
/** … and the others, which perhaps nobody reads, for this long. */
const KEPT_MAX = "interval '7 days'";

/** Records the minutes of these ticks; they may be recorded again at any time. */
export async function recordContested(client: Client, ticks: readonly ContestedTick[]): Promise<void> {
  const minutes = new Map<string, { provider: string; symbol: string; us: bigint; missing: number }>();
  for (const { provider, symbol, srcTs, isMissing } of ticks) {
    const us = srcTs - (srcTs % MINUTE_US);
    const key = `${provider}|${symbol}|${us}`;
    const minute = minutes.get(key) ?? { provider, symbol, us, missing: 0 };
    minutes.set(key, minute);
    if (isMissing) minute.missing += 1;
  }
  const rows = [...minutes.values()];
  await client.query(
    // in the order of the key, so that two members do not deadlock
    `INSERT INTO contested_minutes AS c (provider, symbol, minute, missing)
     SELECT k.provider, k.symbol, ${timeOf('k.us')}, k.missing
       FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) AS k (provider, symbol, us, missing)
      ORDER BY k.provider COLLATE "C", k.symbol COLLATE "C", k.us
     ON CONFLICT (provider, symbol, minute) DO UPDATE
       SET missing = c.missing + excluded.missing, seen_at = clock_timestamp(), tx = pg_current_xact_id()`,
    [
      rows.map(({ provider }) => provider),
      rows.map(({ symbol }) => symbol),
      rows.map(({ us }) => us.toString()),
      rows.map(({ missing }) => missing),
    ],
  );
}

/**
 * The next minutes behind the cursor, by transaction. A transaction that has not ended, and those that began after it, are
 * left to the next call: so nothing can appear before the cursor.
 */
export async function readContested(client: Client, after: ContestedCursor): Promise<ContestedPage> {
  const { rows } = await client.query<Record<'tx' | 'provider' | 'symbol' | 'us' | 'bound', string | null>>(
    // a cursor beyond the bound is of another cluster
    `SELECT c.tx::text, c.provider, c.symbol, ${microsOf('c.minute')} AS us, b.bound::text
       FROM (SELECT pg_snapshot_xmin(pg_current_snapshot()) AS bound) b
       LEFT JOIN LATERAL (
         SELECT * FROM contested_minutes m
          WHERE m.tx < b.bound AND (m.tx, m.provider, m.symbol, m.minute) >
                (CASE WHEN $1::xid8 > b.bound THEN '0'::xid8 ELSE $1::xid8 END, $2, $3, ${timeOf('$4')})
          ORDER BY m.tx, m.provider, m.symbol, m.minute LIMIT ${PAGE_ROWS}) c ON true
      ORDER BY c.tx, c.provider, c.symbol, c.minute`,
    [after.tx, after.provider, after.symbol, after.startUs],
  );
  const found = rows.flatMap(({ tx, provider, symbol, us }) =>
    tx === null || provider === null || symbol === null
      ? []
      : [{ tx, provider, symbol, startUs: Number(us) }],
  );
  const isEnd = found.length < PAGE_ROWS;
  const last = found.at(-1) ?? after;
  return {
    minutes: found.map(({ provider, symbol, startUs }) => ({
      provider,
      symbol,
      startUs,
      endUs: startUs + Number(MINUTE_US),
    })),
    cursor: isEnd ? cursorAt(rows[0]?.bound ?? '0') : last,
    isEnd,
  };
}

/** Before everything that this transaction, and later ones, wrote. */
export function cursorAt(tx: string): ContestedCursor {
  return { tx, provider: '', symbol: '', startUs: 0 };
}

/** Of windows, how many ticks their bars may hold beyond those of tick_data. */
export async function readMissing(
  client: Client,
  windows: readonly { provider: string; symbol: string; startUs: number }[],
): Promise<number[]> {
  const { rows } = await client.query<{ missing: string }>(
    `SELECT coalesce(c.missing, 0) AS missing
       FROM unnest($1::text[], $2::text[], $3::bigint[]) WITH ORDINALITY AS k (provider, symbol, us, ord)
       LEFT JOIN contested_minutes c ON c.provider = k.provider AND c.symbol = k.symbol
        AND c.minute = date_bin(interval '1 minute', ${timeOf('k.us')}, timestamptz 'epoch')
      ORDER BY k.ord`,
    [
      windows.map(({ provider }) => provider),
      windows.map(({ symbol }) => symbol),
      windows.map(({ startUs }) => startUs),
    ],
  );
  return rows.map(({ missing }) => Number(missing));
}

/** Deletes some of what perhaps nobody reads; called with every recording, so that it keeps up. */
export async function forgetOldContested(client: Client): Promise<void> {
  await client.query(
    `DELETE FROM contested_minutes c
      USING (SELECT * FROM contested_minutes ORDER BY tx, provider, symbol, minute LIMIT ${PAGE_ROWS}) o
      WHERE c.provider = o.provider AND c.symbol = o.symbol AND c.minute = o.minute
        AND c.seen_at < clock_timestamp() - ${KEPT_MAX}`,
  );
}

/** Deletes what every partition of bars has read. */
export async function forgetReadContested(client: Client): Promise<void> {
  await client.query(
    `DELETE FROM contested_minutes WHERE seen_at < clock_timestamp() - ${KEPT}
        AND tx < (SELECT min(contested_from) FROM bars_partitions)`,
  );
}
