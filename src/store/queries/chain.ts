import type { Client } from 'pg';
import type { Batch } from '../../core/table/batch.ts';
import { chainTimes, holdAll, UNBOUND } from '../chunks/times.ts';
import { inSnapshot } from '../postgres/transaction.ts';
import { wideMicrosOf } from '../postgres/time-sql.ts';
import { readPage, selectList, textLiteral, type Page, type Query, type SqlColumn } from './query.ts';

/** ticks, vdf_proofs and tick_transactions. One tick whole: chain/single-tick.ts. */

export const CHAIN_TICK_COLUMNS: readonly SqlColumn[] = [
  { name: 'tick_number', type: 'int64', sql: 't.tick_number' },
  { name: 'timestamp', type: 'timestamp', sql: 't."timestamp"' },
  { name: 'batch_hash', type: 'hex', sql: 't.batch_hash' },
  {
    name: 'previous_output',
    type: 'hex',
    sql: 'coalesce(t.previous_output, (SELECT p.output FROM vdf_proofs p WHERE p.tick_number = t.tick_number - 1))',
  },
  { name: 'vdf_input', type: 'hex', sql: 'v.input' },
  { name: 'vdf_output', type: 'hex', sql: 'v.output' },
  { name: 'vdf_proof', type: 'hex', sql: 'v.proof' },
  { name: 'vdf_iterations', type: 'int64', sql: 'v.iterations' },
];

/**
 * Ticks with numbers in [from, to), in order, without their transactions. The numbers are those that have a proof; the rows
 * of `ticks` are looked for where chain_times() says that they are.
 */
export function readChainTicks(client: Client, from: bigint, to: bigint, rowsMax: number): Promise<Page> {
  return inSnapshot(client, () => pageOf(client, from, to, rowsMax));
}

/** All of them, page by page, in one snapshot. A transaction stays open where it is not read to the end: drop the session. */
export async function* chainTickBatches(
  client: Client,
  from: bigint,
  to: bigint,
): AsyncGenerator<Batch, void, undefined> {
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  for (let next = from; ;) {
    const { batch, hasMore } = await pageOf(client, next, to, STREAM_PAGE_ROWS);
    if (batch.rows > 0) yield batch;
    const last = batch.last();
    if (!hasMore || last === null) break;
    next = (last['tick_number'] as bigint) + 1n;
  }
  await client.query('COMMIT');
}

const STREAM_PAGE_ROWS = 5000;

async function pageOf(client: Client, from: bigint, to: bigint, rowsMax: number): Promise<Page> {
  const { rows } = await client.query<{ first: string | null; last: string | null; found: string }>(
    `SELECT min(tick_number) AS first, max(tick_number) AS last, count(*) AS found FROM (
       SELECT tick_number FROM vdf_proofs WHERE tick_number >= $1 AND tick_number < $2 ORDER BY tick_number LIMIT $3) v`,
    [from.toString(), to.toString(), rowsMax + 1],
  );
  const { first, last, found } = rows[0];
  const range = { first: BigInt(first ?? 0), last: BigInt(last ?? -1) };
  let times = Number(found) === 0 ? UNBOUND : await chainTimes(client, range);
  if (!(await holdAll(client, times, range))) times = UNBOUND;
  const numbers = (column: string): string => `${column} BETWEEN ${range.first} AND ${range.last}`;
  return readPage(
    client,
    {
      columns: CHAIN_TICK_COLUMNS,
      sql: `SELECT ${selectList(CHAIN_TICK_COLUMNS)} FROM ticks t JOIN vdf_proofs v ON v.tick_number = t.tick_number
        WHERE ${numbers('t.tick_number')} AND ${numbers('v.tick_number')}${times.and('ticks')} ORDER BY t.tick_number`,
    },
    rowsMax,
  );
}

/** Up to it every number is stored, or known not to be there; null before the first tick. */
export async function readCompleteUpTo(client: Client): Promise<bigint | null> {
  const { rows } = await client.query<{ complete_up_to: string | null }>(
    'SELECT complete_up_to FROM ingest_position()',
  );
  const complete = rows[0]?.complete_up_to ?? null;
  return complete === null ? null : BigInt(complete);
}

export const TRANSACTION_COLUMNS: readonly SqlColumn[] = [
  { name: 'tx_hash', type: 'hex' },
  { name: 'tick_number', type: 'int64' },
  { name: 'sequence_number', type: 'int64' },
  { name: 'tx_id', type: 'text' },
  { name: 'tx_id_hex', type: 'hex', sql: "encode(coalesce(tx_id_raw, convert_to(tx_id, 'UTF8')), 'hex')" },
  { name: 'payload', type: 'hex', sql: "encode(payload, 'hex')" },
  { name: 'signature', type: 'hex', sql: "encode(signature, 'hex')" },
  { name: 'public_key', type: 'hex', sql: "encode(public_key, 'hex')" },
  { name: 'nonce', type: 'uint64', sql: 'nonce::text' },
  {
    name: 'timestamp_us',
    type: 'uint64',
    sql: `coalesce(timestamp_us, ${wideMicrosOf('"timestamp"')})::text`,
  },
  { name: 'ingestion_timestamp', type: 'timestamp' },
  { name: 'tick_timestamp', type: 'timestamp' },
];

/** The places of a transaction: more than one where the sequencer ordered it again. */
export function transactionsByHash(txHash: string): Query {
  return {
    columns: TRANSACTION_COLUMNS,
    sql: `SELECT ${selectList(TRANSACTION_COLUMNS)} FROM tick_transactions WHERE tx_hash = ${textLiteral(txHash)}
      ORDER BY tick_number, sequence_number`,
  };
}
