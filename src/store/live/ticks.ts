import { formatMicros, type Micros } from '../../core/time.ts';
import { prepared } from '../postgres/pooler.ts';
import type { RunOnSession } from '../postgres/session.ts';
import { microsOf, timeOf } from '../postgres/time-sql.ts';

export interface SymbolName {
  provider: string;
  symbol: string;
}

/** What tells a tick from all others. */
export interface TickKey extends SymbolName {
  /** µs since 1970 */
  ts: Micros;
  seq: bigint;
}

export interface StoredTick extends TickKey {
  price: number;
  size: number | null;
  bid: number | null;
  ask: number | null;
  side: number | null;
}

/** A snapshot of the database as pg_current_snapshot() writes it: `10:20:10,14`. */
export type SnapshotText = string;

export interface TickSlice {
  symbols: readonly SymbolName[];
  /** [from, to), µs */
  from: Micros;
  to: Micros;
  /** the last tick before the slice's first; null: none at or behind `from` was read */
  after: TickKey | null;
  /** only what this one shows */
  snapshot: SnapshotText;
  /** and this one does not; null: all */
  without: SnapshotText | null;
  limit: number;
}

interface TickRow {
  provider: string;
  symbol: string;
  us: string;
  seq: string;
  price: number;
  size: number | null;
  bid: number | null;
  ask: number | null;
  side: number | null;
}

/** 2000-01-01: no event is older. */
const FIRST_US: Micros = 946_684_800_000_000n;

/** pg_current_snapshot(), for tables that carry the transaction of each row (column tx). */
export function currentSnapshot(run: RunOnSession): Promise<SnapshotText> {
  return run(async (client) => {
    const { rows } = await client.query<{ snapshot: string }>(
      'SELECT pg_current_snapshot()::text AS snapshot',
    );
    return rows[0].snapshot;
  });
}

/**
 * tick_data as the live path asks it. Insert-only, and each row has its transaction: a row is in a snapshot or not, for ever,
 * so no transaction has to stay open while a client reads.
 */
export class LiveTickTable {
  readonly #hub: RunOnSession;
  readonly #reader: RunOnSession;

  constructor(hub: RunOnSession, reader: RunOnSession) {
    this.#hub = hub;
    this.#reader = reader;
  }

  snapshot(): Promise<SnapshotText> {
    return currentSnapshot(this.#hub);
  }

  /** What there are ticks of, of these symbols and this provider (null: all); found along the key, however many ticks there are. */
  symbols(names: readonly string[] | null, provider: string | null): Promise<SymbolName[]> {
    return this.#reader(async (client) => {
      const { rows } = await client.query<SymbolName>(SYMBOLS_SQL, [names, provider]);
      return rows;
    });
  }

  /** Time and seq of the newest tick of each, null where there is none. */
  newest(symbols: readonly SymbolName[]): Promise<({ ts: Micros; seq: bigint } | null)[]> {
    return this.#hub(async (client) => {
      const { rows } = await client.query<{ n: string; us: string; seq: string }>({
        ...prepared(client, 'live_newest'),
        text: NEWEST_SQL,
        values: [symbols.map(({ provider }) => provider), symbols.map(({ symbol }) => symbol)],
      });
      const found: ({ ts: Micros; seq: bigint } | null)[] = symbols.map(() => null);
      for (const { n, us, seq } of rows) found[Number(n) - 1] = { ts: BigInt(us), seq: BigInt(seq) };
      return found;
    });
  }

  /** Which of these are stored and shown by the snapshot. */
  visible(keys: readonly TickKey[], snapshot: SnapshotText, who: 'hub' | 'client'): Promise<boolean[]> {
    const run = who === 'hub' ? this.#hub : this.#reader;
    return run(async (client) => {
      const { rows } = await client.query<{ n: string }>({
        ...prepared(client, 'live_visible'),
        text: VISIBLE_SQL,
        values: [
          keys.map(({ provider }) => provider),
          keys.map(({ symbol }) => symbol),
          keys.map(({ ts }) => ts.toString()),
          keys.map(({ seq }) => seq.toString()),
          snapshot,
        ],
      });
      const found = keys.map(() => false);
      for (const { n } of rows) found[Number(n) - 1] = true;
      return found;
    });
  }

  /** The first ticks of a slice of time in the order of (ts, provider, symbol, seq); `limit` of them: there may be more. */
  slice(slice: TickSlice): Promise<StoredTick[]> {
    return this.#reader(async (client) => {
      const { symbols, from, to, after, snapshot, without, limit } = slice;
      const begin = after !== null && after.ts > from ? after.ts : from;
      const { rows } = await client.query<TickRow>(sliceSql(begin, to, after, without !== null), [
        symbols.map(({ provider }) => provider),
        symbols.map(({ symbol }) => symbol),
        snapshot,
        limit,
        ...(without === null ? [] : [without]),
      ]);
      return rows.map(({ us, seq, ...rest }) => ({ ...rest, ts: BigInt(us), seq: BigInt(seq) }));
    });
  }

  /** Time of the first tick at or behind `from` of any of these; null: none. */
  firstAt(symbols: readonly SymbolName[], from: Micros): Promise<Micros | null> {
    return this.#reader(async (client) => {
      const { rows } = await client.query<{ us: string | null }>(
        `SELECT ${microsOf('min(t.ts)')} AS us FROM unnest($1::text[], $2::text[]) AS k (provider, symbol)
          CROSS JOIN LATERAL (SELECT ts FROM tick_data d WHERE d.provider = k.provider AND d.symbol = k.symbol
            AND d.ts >= ${literal(from)} ORDER BY d.ts LIMIT 1) t`,
        [symbols.map(({ provider }) => provider), symbols.map(({ symbol }) => symbol)],
      );
      const us = rows[0].us;
      return us === null ? null : BigInt(us);
    });
  }
}

/** A constant: the planner sees which chunks are meant. */
function literal(us: Micros): string {
  return `timestamptz '${formatMicros(us < FIRST_US ? FIRST_US : us)}'`;
}

const SYMBOLS_SQL = `
WITH RECURSIVE providers AS (
  (SELECT provider FROM tick_data ORDER BY provider LIMIT 1)
  UNION ALL
  SELECT (SELECT t.provider FROM tick_data t WHERE t.provider > p.provider ORDER BY t.provider LIMIT 1)
    FROM providers p WHERE p.provider IS NOT NULL)
SELECT p.provider, s.symbol FROM providers p CROSS JOIN LATERAL (
  WITH RECURSIVE symbols AS (
    (SELECT t.symbol FROM tick_data t WHERE t.provider = p.provider ORDER BY t.symbol LIMIT 1)
    UNION ALL
    SELECT (SELECT t.symbol FROM tick_data t WHERE t.provider = p.provider AND t.symbol > l.symbol ORDER BY t.symbol LIMIT 1)
      FROM symbols l WHERE l.symbol IS NOT NULL)
  SELECT symbol FROM symbols WHERE symbol IS NOT NULL AND ($1::text[] IS NULL OR symbol = ANY ($1))) s
 WHERE p.provider IS NOT NULL AND ($2::text IS NULL OR p.provider = $2)
 ORDER BY 1, 2`;

const NEWEST_SQL = `
SELECT k.n, ${microsOf('t.ts')} AS us, t.seq
  FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k (provider, symbol, n)
 CROSS JOIN LATERAL (
   SELECT ts, seq FROM tick_data d WHERE d.provider = k.provider AND d.symbol = k.symbol
    ORDER BY d.ts DESC, d.seq DESC LIMIT 1) t`;

/** OFFSET 0: a look-up for each, whatever statistics say. */
const VISIBLE_SQL = `
SELECT k.n FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) WITH ORDINALITY AS k (provider, symbol, us, seq, n)
 CROSS JOIN LATERAL (
   SELECT tx FROM tick_data d
    WHERE d.provider = k.provider AND d.symbol = k.symbol AND d.ts = ${timeOf('k.us')} AND d.seq = k.seq OFFSET 0) t
 WHERE pg_visible_in_snapshot(t.tx, $5::pg_snapshot)`;

/**
 * Each symbol's part of the key in order, merged. Of the tick that was read last, the time decides for other symbols:
 * (ts, provider, symbol, seq) as the whole order, (ts, seq) within a symbol.
 */
function sliceSql(from: Micros, to: Micros, after: TickKey | null, hasWithout: boolean): string {
  const conditions = [
    'd.provider = k.provider AND d.symbol = k.symbol',
    `d.ts >= ${literal(from)} AND d.ts < ${literal(to)}`,
    'pg_visible_in_snapshot(d.tx, $3::pg_snapshot)',
  ];
  if (hasWithout) conditions.push('NOT pg_visible_in_snapshot(d.tx, $5::pg_snapshot)');
  if (after !== null && after.ts >= from) {
    const key = [after.provider, after.symbol].map((text) => `'${text.replaceAll("'", "''")}' COLLATE "C"`);
    conditions.push(
      `(d.ts, d.provider, d.symbol, d.seq) > (${literal(after.ts)}, ${key[0]}, ${key[1]}, ${after.seq}::bigint)`,
    );
  }
  return `SELECT t.provider, t.symbol, ${microsOf('t.ts')} AS us, t.seq, t.price, t.size, t.bid, t.ask, t.side
  FROM unnest($1::text[], $2::text[]) AS k (provider, symbol)
 CROSS JOIN LATERAL (
   SELECT d.provider, d.symbol, d.ts, d.seq, d.price, d.size, d.bid, d.ask, d.side FROM tick_data d
    WHERE ${conditions.join('\n      AND ')}
    ORDER BY d.ts, d.seq LIMIT $4) t
 ORDER BY t.ts, t.provider, t.symbol, t.seq LIMIT $4`;
}
