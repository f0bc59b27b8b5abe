import type { Client, QueryResultRow } from 'pg';
import type { TickRange } from '../../core/ingest/ranges.ts';
import {
  formatCursor,
  parseCursor,
  type ChainReach,
  type OrdersCursor,
} from '../../core/market/orders/cursor.ts';
import { connectDurable, Session } from '../postgres/session.ts';
import { microsOf, msOf } from '../postgres/time-sql.ts';

export interface ChainOrdersOptions {
  dbUri: string;
  /** shown in pg_stat_activity */
  applicationName: string;
}

/** The columns of a transaction that the market side needs. */
export interface ChainTransaction {
  tick: bigint;
  sequence: bigint;
  /** null: longer than PAYLOAD_BYTES_MAX, so no order */
  payload: Buffer | null;
  /** µs */
  tickTimestamp: bigint;
}

/** An order has some 500 bytes; longer payloads are not read, so that a page of a thousand is bounded. */
export const PAYLOAD_BYTES_MAX = 64 * 1024;
const CURSOR = 'orders';
/** The session is dropped, and the lock with it, after this long without an answer. */
const ANSWER_MS_MAX = 30_000;
/**
 * Forces the index, whatever statistics say: a page is a small share of its tables, but a cursor far behind makes it
 * look large.
 */
const PLANNING =
  'SET enable_seqscan = off; SET enable_bitmapscan = off; SET jit = off; SET max_parallel_workers_per_gather = 0';

/**
 * The committed transactions of the chain in order, and the cursor of the stage that publishes them. Only one stage at
 * a time, the holder of the lock; if the session ends, so does the lock, and with it the right to write the cursor.
 * Every method rejects with ConnectError or the server's error.
 */
export class ChainOrders {
  readonly #session: Session;
  #holder: Client | null = null;

  constructor({ dbUri, applicationName }: ChainOrdersOptions) {
    const open = async (): Promise<Client> => {
      const client = await connectDurable(dbUri, applicationName);
      await client.query(PLANNING);
      return client;
    };
    this.#session = new Session(open, ANSWER_MS_MAX);
  }

  /** Whether this stage is the publisher, and its cursor; ask again after every error. */
  lead(): Promise<{ cursor: OrdersCursor | null } | null> {
    return this.#session.run(async (client) => {
      if (client !== this.#holder) {
        // the first key is specific to this schema; Postgres takes two int4
        const { rows } = await client.query<{ held: boolean }>(
          `SELECT pg_try_advisory_lock('stage_cursors'::regclass::oid::bigint::bit(32)::int, hashtext($1)) AS held`,
          [CURSOR],
        );
        if (!rows[0].held) return null; // always one row
        this.#holder = client;
      }
      const { rows } = await client.query<{ position: unknown }>(
        'SELECT "position" FROM stage_cursors WHERE name = $1',
        [CURSOR],
      );
      return { cursor: rows.length === 0 ? null : parseCursor(rows[0].position) };
    });
  }

  /** In one statement, so from one snapshot. */
  async reach(from: bigint): Promise<ChainReach> {
    const rows = await this.#rows<{
      origin: string | null;
      position: string | null;
      first_tick: string | null;
      last_tick: string;
      state: 'open' | 'unfillable' | 'skipped';
      age_ms: number;
    }>(REACH_SQL, [from.toString()]);
    const row = rows[0]; // always one
    return {
      origin: row.origin === null ? null : BigInt(row.origin),
      position: row.position === null ? null : BigInt(row.position),
      hole:
        row.first_tick === null
          ? null
          : {
              first: BigInt(row.first_tick),
              last: BigInt(row.last_tick),
              state: row.state,
              ageMs: row.age_ms,
            },
    };
  }

  /** Transactions after (tick, sequence) up to a tick, in order, at most `limit`. */
  async page(tick: bigint, sequence: bigint, upTo: bigint, limit: number): Promise<ChainTransaction[]> {
    const rows = await this.#rows<{
      tick_number: string;
      sequence_number: string;
      payload: Buffer | null;
      tick_us: string;
    }>(PAGE_SQL, [tick.toString(), sequence.toString(), upTo.toString(), limit]);
    return rows.map((row) => ({
      tick: BigInt(row.tick_number),
      sequence: BigInt(row.sequence_number),
      payload: row.payload,
      tickTimestamp: BigInt(row.tick_us),
    }));
  }

  /** Numbers of a range that are open dead letters and not stored, in order, at most `limit`. */
  async deadLetters({ first, last }: TickRange, limit: number): Promise<bigint[]> {
    const rows = await this.#rows<{ tick_number: string }>(DEAD_LETTERS_SQL, [
      first.toString(),
      last.toString(),
      limit,
    ]);
    return rows.map((row) => BigInt(row.tick_number));
  }

  /** Stored ticks within these ranges, in order, at most `limit`. */
  async stored(ranges: readonly TickRange[], limit: number): Promise<bigint[]> {
    const rows = await this.#rows<{ tick_number: string }>(STORED_SQL, [
      ranges.map(({ first }) => first.toString()),
      ranges.map(({ last }) => last.toString()),
      limit,
    ]);
    return rows.map((row) => BigInt(row.tick_number));
  }

  async writeCursor(cursor: OrdersCursor): Promise<void> {
    await this.#rows(
      `INSERT INTO stage_cursors (name, "position") VALUES ($1, $2)
       ON CONFLICT (name) DO UPDATE SET "position" = excluded."position", updated_at = now()`,
      [CURSOR, formatCursor(cursor)],
    );
  }

  async close(): Promise<void> {
    await this.#session.close();
  }

  /** On the session that holds the lock; another one must first take it, and read the cursor again. */
  #rows<R extends QueryResultRow>(sql: string, values: unknown[]): Promise<R[]> {
    return this.#session.run(async (client) => {
      if (client !== this.#holder) throw new Error('the session that held the lock was lost');
      return (await client.query<R>(sql, values)).rows;
    });
  }
}

const REACH_SQL = `
SELECT p.origin, p."position", g.first_tick, g.last_tick, g.state,
       ${msOf('clock_timestamp() - g.detected_at')} AS age_ms
  FROM ingest_position() p
  LEFT JOIN LATERAL (
    SELECT first_tick, last_tick, state, detected_at FROM ingest_gaps
     WHERE state <> 'filled' AND last_tick >= $1 AND first_tick <= p."position"
     ORDER BY first_tick LIMIT 1) g ON true`;

const PAGE_SQL = `
SELECT tick_number, sequence_number, ${microsOf('tick_timestamp')} AS tick_us,
       CASE WHEN octet_length(payload) <= ${PAYLOAD_BYTES_MAX} THEN payload END AS payload
  FROM tick_transactions
 WHERE tick_number >= $1 AND tick_number <= $3 AND (tick_number > $1 OR sequence_number > $2)
 ORDER BY tick_number, sequence_number LIMIT $4`;

/** The same expression as in the unique index of dead_letters. */
const DEAD_LETTERS_SQL = `
SELECT DISTINCT d.tick_number FROM dead_letters d
 WHERE d.status = 'open' AND d.tick_number IS NOT NULL AND d.after_tick IS NULL
   AND coalesce(d.tick_number, -1) BETWEEN $1::numeric AND $2::numeric
   AND NOT EXISTS (SELECT FROM vdf_proofs v WHERE v.tick_number = d.tick_number::bigint)
 ORDER BY d.tick_number LIMIT $3`;

const STORED_SQL = `
SELECT v.tick_number FROM unnest($1::bigint[], $2::bigint[]) AS r (first_tick, last_tick)
 CROSS JOIN LATERAL (
   SELECT tick_number FROM vdf_proofs WHERE tick_number BETWEEN r.first_tick AND r.last_tick
    ORDER BY tick_number LIMIT $3) v
 ORDER BY v.tick_number LIMIT $3`;
