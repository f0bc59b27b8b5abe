import type { Client } from 'pg';
import { detectEdition } from '../postgres/server-info.ts';
import type { Around } from './chunk-map.ts';

/**
 * Within a transaction: what the work locks is released at its end, as it is undone, so it may only read. A transaction that
 * goes through many chunks would otherwise hold the locks of all of them (53200).
 */
export function releasingLocks(client: Client): Around {
  return async (work) => {
    await client.query('SAVEPOINT locks');
    try {
      return await work();
    } finally {
      // of a connection that is lost, `work` tells
      await client.query('ROLLBACK TO SAVEPOINT locks; RELEASE SAVEPOINT locks').catch(() => {});
    }
  };
}

/** What a query over all chunks of a table takes, and what the server has. */
export interface ChunkLocks {
  table: string;
  chunks: number;
  /** a chunk and its indexes */
  locksPerChunk: number;
  maxLocksPerTransaction: number;
  /** max_connections and max_prepared_transactions: the server has so many times the locks above, for all sessions */
  transactions: number;
}

/** Two such queries at once, as readers make them, may take half of the locks: beyond that it is time to say so. */
const SHARE = 4;

/** Empty while there is room enough, and on plain tables. */
export async function lockWarnings(client: Client): Promise<string[]> {
  const { timescale, usable } = await detectEdition(client);
  if (timescale === null || !usable) return [];
  const { rows } = await client.query<ChunkLocks>(
    `SELECT h.hypertable_name AS table, h.num_chunks::int AS chunks,
            1 + (SELECT count(*) FROM pg_index i WHERE i.indrelid = to_regclass(quote_ident(h.hypertable_name)))::int AS "locksPerChunk",
            current_setting('max_locks_per_transaction')::int AS "maxLocksPerTransaction",
            current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int AS transactions
       FROM timescaledb_information.hypertables h
      WHERE to_regclass(quote_ident(h.hypertable_name)) = to_regclass(format('%I.%I', h.hypertable_schema, h.hypertable_name))
      ORDER BY 1`,
  );
  return rows.flatMap((row) => lockWarning(row) ?? []);
}

/** Null: there is room. */
export function lockWarning(of: ChunkLocks): string | null {
  const { table, chunks, locksPerChunk, maxLocksPerTransaction, transactions } = of;
  const taken = chunks * locksPerChunk;
  const room = maxLocksPerTransaction * transactions;
  if (taken * SHARE <= room) return null;
  const wanted = Math.ceil((taken * SHARE) / transactions);
  return (
    `${table} has ${chunks} chunks: a query over all of them takes ${taken} of the server's ${room} locks, and where two readers do ` +
    `so it may refuse further ones (53200): set max_locks_per_transaction = ${wanted} and restart it, or drop old chunks`
  );
}
