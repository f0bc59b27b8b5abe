import { randomUUID } from 'node:crypto';
import type { Client, QueryResultRow } from 'pg';
import type { TickRange } from '../../core/ingest/ranges.ts';
import {
  formatCursor,
  parseCursor,
  type ChainReach,
  type OrdersCursor,
} from '../../core/market/orders/cursor.ts';
import { chainTimes, holdAll, UNBOUND, type ChainTimes } from '../chunks/times.ts';
import { connectDurable, Session } from '../postgres/session.ts';
import { microsOf, msOf } from '../postgres/time-sql.ts';
import { inTransaction } from '../postgres/transaction.ts';

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
/** Ticks that are looked at in one go where the table is a hypertable. */
const STRETCH_TICKS = 16_384n;
/** The session is dropped after this long without an answer. */
const ANSWER_MS_MAX = 30_000;
/** How long the lease lasts without renewal, and how often it is renewed, ms. */
const LEASE = "interval '5 seconds'";
const RENEW_MS = 1_000;
/**
 * Forces the index, whatever statistics say: a page is a small share of its tables, but a cursor far behind makes it
 * look large.
 */
const PLANNING = ['enable_seqscan', 'enable_bitmapscan', 'jit']
  .map((name) => `SET LOCAL ${name} = off`)
  .concat('SET LOCAL max_parallel_workers_per_gather = 0')
  .join('; ');

/**
 * The committed transactions of the chain in order, and the cursor of the stage that publishes them. Only one stage at
 * a time, by a lease on the database's clock: a lock of the session would stay with a process that is frozen, and with a
 * pooler's connection. A cursor is written only while the lease is held. Every method rejects with ConnectError or the
 * server's error.
 */
export class ChainOrders {
  readonly #session: Session;
  readonly #holder = randomUUID();
  readonly #renewing: NodeJS.Timeout;
  #isLeader = false;

  constructor({ dbUri, applicationName }: ChainOrdersOptions) {
    this.#session = new Session(() => connectDurable(dbUri, applicationName), ANSWER_MS_MAX);
    this.#renewing = setInterval(() => {
      // while the database cannot be reached the lease may run out: the next write of the cursor tells
      if (this.#isLeader) this.#session.run((client) => this.#lease(client)).catch(() => {});
    }, RENEW_MS);
    this.#renewing.unref();
  }

  /** Whether this stage is the publisher, and its cursor; ask again after every error. */
  lead(): Promise<{ cursor: OrdersCursor | null } | null> {
    return this.#session.run(async (client) => {
      await this.#lease(client);
      if (!this.#isLeader) return null;
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
    const found: ChainTransaction[] = [];
    let [from, after] = [tick, sequence];
    while (from <= upTo) {
      const stretch = await this.#stretch(from, after, upTo, limit - found.length);
      found.push(...stretch.rows);
      if (found.length === limit) break;
      [from, after] = [stretch.last + 1n, -1n];
    }
    return found;
  }

  /** A page as far as a stretch of ticks: of a hypertable only the chunks that have them are read. */
  #stretch(
    tick: bigint,
    sequence: bigint,
    upTo: bigint,
    limit: number,
  ): Promise<{ rows: ChainTransaction[]; last: bigint }> {
    return this.#inTransaction(async (client) => {
      const end = upTo - tick < STRETCH_TICKS ? upTo : tick + STRETCH_TICKS - 1n;
      const range = { first: tick, last: end };
      const bounds = await chainTimes(client, range);
      const last = bounds.isUnbound ? upTo : end;
      // where times jump, an order must not be missed
      const times = (await holdAll(client, bounds, range)) ? bounds : UNBOUND;
      const { rows } = await client.query<{
        tick_number: string;
        sequence_number: string;
        payload: Buffer | null;
        tick_us: string;
      }>(pageSql(times), [tick.toString(), sequence.toString(), last.toString(), limit]);
      return {
        last,
        rows: rows.map((row) => ({
          tick: BigInt(row.tick_number),
          sequence: BigInt(row.sequence_number),
          payload: row.payload,
          tickTimestamp: BigInt(row.tick_us),
        })),
      };
    });
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
    await this.#session.run(async (client) => {
      const { rows } = await client.query(
        `WITH mine AS (UPDATE stage_leases SET expires_at = clock_timestamp() + ${LEASE}
           WHERE name = $1 AND holder = $2 RETURNING 1)
         INSERT INTO stage_cursors (name, "position") SELECT $1, $3::jsonb FROM mine
         ON CONFLICT (name) DO UPDATE SET "position" = excluded."position", updated_at = now() RETURNING 1`,
        [CURSOR, this.#holder, formatCursor(cursor)],
      );
      if (rows.length === 0) this.#lost();
    });
  }

  /** Another stage need not wait until the lease expires. */
  async close(): Promise<void> {
    clearInterval(this.#renewing);
    if (this.#isLeader) {
      const release =
        'UPDATE stage_leases SET expires_at = clock_timestamp() WHERE name = $1 AND holder = $2';
      await this.#session.run((client) => client.query(release, [CURSOR, this.#holder])).catch(() => {});
    }
    await this.#session.close();
  }

  /** Takes the lease where it is free, or renews it. */
  async #lease(client: Client): Promise<void> {
    const { rows } = await client.query(
      `INSERT INTO stage_leases AS l (name, holder, expires_at) VALUES ($1, $2, clock_timestamp() + ${LEASE})
       ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
         WHERE l.holder = excluded.holder OR l.expires_at <= clock_timestamp() RETURNING 1`,
      [CURSOR, this.#holder],
    );
    this.#isLeader = rows.length > 0;
  }

  #lost(): never {
    this.#isLeader = false;
    throw new Error('another stage publishes the orders of the chain by now');
  }

  /** For the publisher alone. */
  #rows<R extends QueryResultRow>(sql: string, values: unknown[]): Promise<R[]> {
    return this.#inTransaction(async (client) => (await client.query<R>(sql, values)).rows);
  }

  #inTransaction<T>(work: (client: Client) => Promise<T>): Promise<T> {
    return this.#session.run(async (client) => {
      if (!this.#isLeader) this.#lost();
      return inTransaction(client, async () => {
        await client.query(PLANNING);
        return work(client);
      });
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

const pageSql = (times: ChainTimes): string => `
SELECT tick_number, sequence_number, ${microsOf('tick_timestamp')} AS tick_us,
       CASE WHEN octet_length(payload) <= ${PAYLOAD_BYTES_MAX} THEN payload END AS payload
  FROM tick_transactions
 WHERE tick_number >= $1 AND tick_number <= $3 AND (tick_number > $1 OR sequence_number > $2)${times.and('tick_transactions')}
 ORDER BY tick_number, sequence_number LIMIT $4`;

/** The same expression as in the unique index of dead_letters. */
const DEAD_LETTERS_SQL = `
SELECT DISTINCT d.tick_number FROM dead_letters d
 WHERE d.status = 'open' AND d.tick_number IS NOT NULL AND d.after_tick IS NULL
   AND coalesce(d.tick_number, -1) BETWEEN $1::numeric AND $2::numeric
   AND NOT EXISTS (SELECT FROM vdf_proofs v
                    WHERE v.tick_number = d.tick_number::bigint AND v.tick_number BETWEEN $1::bigint AND $2::bigint)
 ORDER BY d.tick_number LIMIT $3`;

const STORED_SQL = `
SELECT v.tick_number FROM unnest($1::bigint[], $2::bigint[]) AS r (first_tick, last_tick)
 CROSS JOIN LATERAL (
   SELECT tick_number FROM vdf_proofs WHERE tick_number BETWEEN r.first_tick AND r.last_tick
    ORDER BY tick_number LIMIT $3) v
 ORDER BY v.tick_number LIMIT $3`;
