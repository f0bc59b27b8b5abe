import { escapeIdentifier, type Client } from 'pg';
import { inTransaction } from '../postgres/transaction.ts';

export interface HypertableInfo {
  table: string;
  /** the partition column */
  column: string;
  /** e.g. `1 day`, or `50000000` ticks */
  chunk: string;
  isHypertable: boolean;
  /** 0 for a plain table */
  chunks: number;
  /** of these, those that are compressed, all of them or in part */
  compressedChunks: number;
  /** the planner's estimate; -1: never analysed */
  rowsEstimated: number;
}

export interface Conversion {
  table: string;
  outcome: 'converted' | 'present';
}

interface Row {
  table_name: string;
  column_name: string;
  chunk: string;
  chunks: string | null;
  compressed: string | null;
  rows_estimated: string;
}

/** The tables that become hypertables where TimescaleDB can be used, and their current state here. */
export async function listHypertables(client: Client, timescaleIsUsable: boolean): Promise<HypertableInfo[]> {
  // timescaledb_information exists only with the extension, and only the preloaded library can read it
  const chunks = timescaleIsUsable
    ? `(SELECT h.num_chunks FROM timescaledb_information.hypertables h
          JOIN pg_namespace n ON n.nspname = h.hypertable_schema
         WHERE h.hypertable_name = c.relname AND n.oid = c.relnamespace)`
    : 'NULL';
  const compressed = timescaleIsUsable
    ? `(SELECT count(*) FROM timescaledb_information.chunks k JOIN pg_namespace n ON n.nspname = k.hypertable_schema
         WHERE k.hypertable_name = c.relname AND n.oid = c.relnamespace AND k.is_compressed)`
    : 'NULL';
  const { rows } = await client.query<Row>(
    `SELECT s.table_name, s.column_name, coalesce(s.chunk_interval::text, s.chunk_width::text) AS chunk,
            ${chunks} AS chunks, ${compressed} AS compressed, c.reltuples::bigint AS rows_estimated
       FROM schema_hypertables s JOIN pg_class c ON c.oid = quote_ident(s.table_name)::regclass
      ORDER BY s.table_name`,
  );
  return rows.map((row) => ({
    table: row.table_name,
    column: row.column_name,
    chunk: row.chunk,
    isHypertable: row.chunks !== null,
    chunks: Number(row.chunks ?? 0),
    compressedChunks: Number(row.compressed ?? 0),
    rowsEstimated: Number(row.rows_estimated),
  }));
}

/**
 * Creates the extension if possible. False where TimescaleDB cannot be used; the server's notice (see onNotice) says
 * why.
 */
export async function ensureTimescale(client: Client, onNotice: (text: string) => void): Promise<boolean> {
  const listener = ({ message }: { message?: string | undefined }): void => onNotice(message ?? '');
  client.on('notice', listener);
  try {
    return await inTransaction(client, async () => {
      await client.query('SET LOCAL client_min_messages = notice');
      const { rows } = await client.query<{ schema: string | null }>('SELECT schema_timescaledb() AS schema');
      return rows[0]?.schema != null;
    });
  } finally {
    client.off('notice', listener);
  }
}

/**
 * Turns one table of the list into a hypertable. If it has rows, it is rewritten entirely under an exclusive lock: its
 * readers and writers wait. Rejects with the server's error; the table is then unchanged.
 */
export async function convertToHypertable(client: Client, table: string): Promise<Conversion> {
  const { rows } = await client.query<{ outcome: Conversion['outcome'] }>(
    'SELECT schema_make_hypertable($1, true) AS outcome',
    [table],
  );
  const outcome = rows[0]?.outcome ?? 'present';
  // the planner has no statistics for the new chunks
  if (outcome === 'converted') await client.query(`ANALYZE ${escapeIdentifier(table)}`);
  await setUp(client, table);
  return { table, outcome };
}

/** Compression, once and if the edition supports it, and what policies need; later files of the schema bring the functions. */
async function setUp(client: Client, table: string): Promise<void> {
  if (await knows(client, 'schema_compress(text)')) await client.query('SELECT schema_compress($1)', [table]);
  if (table === 'vdf_proofs' && (await knows(client, 'schema_set_integer_now()')))
    await client.query('SELECT schema_set_integer_now()');
}

async function knows(client: Client, signature: string): Promise<boolean> {
  const { rows } = await client.query<{ known: boolean }>('SELECT to_regprocedure($1) IS NOT NULL AS known', [
    signature,
  ]);
  return rows[0].known;
}
