import { escapeLiteral, type Client } from 'pg';
import type { ChainAlarm } from '../../core/copy/transcode.ts';
import type { Tick } from '../../core/chain/tick.ts';
import type { TickRows } from '../../core/copy/frame.ts';
import { copyStatement, PROOFS, TICKS, TRANSACTIONS } from '../../core/copy/tables.ts';
import { chainTimes, UNBOUND, type ChainTimes } from '../chunks/times.ts';
import { sendPipelined } from '../postgres/pipelined-copy.ts';
import { readStoredTicks } from './stored-ticks.ts';

/**
 * The steps of a transaction that stores one tick at a number that is recorded already: for dead letters that an operator
 * retries, and for good frames that come after a bad one.
 */

/** Attempts while somebody else stores the same number between our look and our write. */
export const ATTEMPTS = 3;

/**
 * Two such transactions never run at once, no matter who started them. It goes before the fence: a takeover would
 * terminate one of two that wait for each other.
 */
export async function lockSingleTicks(client: Client): Promise<void> {
  // without statistics the planner may prefer to read whole tables for a single number
  await client.query('SET LOCAL enable_seqscan = off; SET LOCAL jit = off');
  // 4: distinct from the fence (1), the migrators (2) and the gaps (3)
  await client.query('SELECT pg_advisory_xact_lock(ingest_fence_key(), 4)');
}

/** The stored tick of a number; null when the tables have nothing of it. */
export async function readSingleTick(client: Client, tick: bigint): Promise<Tick | 'in part' | null> {
  const times = await chainTimes(client, { first: tick, last: tick });
  let counts = await countRows(client, tick, times);
  // not where its neighbours are
  if (counts.proofs === '1' && counts.ticks === '0' && !times.isUnbound) {
    counts = await countRows(client, tick, UNBOUND);
  }
  if (counts.ticks === '1' && counts.proofs === '1') {
    return (await readStoredTicks(client, [tick])).get(tick) ?? 'in part';
  }
  return counts.ticks === '0' && counts.proofs === '0' && counts.transactions === '0' ? null : 'in part';
}

type RowCounts = Record<'ticks' | 'proofs' | 'transactions', string>;

async function countRows(client: Client, tick: bigint, times: ChainTimes): Promise<RowCounts> {
  const { rows } = await client.query<RowCounts>(
    `SELECT (SELECT count(*) FROM ticks WHERE tick_number = $1${times.and('ticks')}) AS ticks,
       (SELECT count(*) FROM vdf_proofs WHERE tick_number = $1) AS proofs,
       (SELECT count(*) FROM tick_transactions WHERE tick_number = $1${times.and('tick_transactions')}) AS transactions`,
    [tick.toString()],
  );
  return rows[0];
}

/** The open dead letters recorded in place of a tick: a conflict is recorded beside one. */
export async function deadLettersInPlaceOf(client: Client, tick: bigint): Promise<string[]> {
  const { rows } = await client.query<{ id: string }>(
    `SELECT dead_letter_id AS id FROM dead_letters
      WHERE coalesce(tick_number, -1) = $1 AND after_tick IS NULL AND reason <> 'conflict' AND status = 'open'
      ORDER BY dead_letter_id FOR UPDATE`,
    [tick.toString()],
  );
  return rows.map(({ id }) => id);
}

/**
 * The ledger counts the number among its dead letters: moves it to its ticks. False when it does not.
 * Retried when nothing was found: rows of the ledger get merged, and the merged one is invisible to a statement that waited.
 */
export async function countAsTick(client: Client, tick: bigint, transactions: number): Promise<boolean> {
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    const { rowCount } = await client.query(
      `UPDATE ingest_ledger SET ticks = ticks + 1, transactions = transactions + $2, dead_letters = dead_letters - 1
        WHERE first_tick = (SELECT max(first_tick) FROM ingest_ledger WHERE first_tick <= $1)
          AND last_tick >= $1 AND dead_letters > 0`,
      [tick.toString(), transactions],
    );
    if (rowCount === 1) return true;
  }
  return false;
}

/**
 * The last round trip: the rows, their alarms and other statements, COMMIT included. Returns the ticks whose link is broken
 * and was not known before.
 */
export async function commitSingleTick(
  client: Client,
  frame: TickRows,
  statements: readonly string[],
): Promise<string[]> {
  const { number: tick, transactions, copy, alarms } = frame;
  const tables = [TICKS, PROOFS, ...(transactions > 0 ? [TRANSACTIONS] : [])];
  const copies = [copy.ticks, copy.proofs, ...(transactions > 0 ? [copy.transactions] : [])];
  const checkLinks = `SELECT ingest_check_links(${tick}, ${tick}, (SELECT epoch FROM ingest_state))`;
  const plan = {
    statements: [
      ...tables.map(copyStatement),
      checkLinks,
      ...(alarms.length > 0 ? [alarmsSql(alarms, '(SELECT epoch FROM ingest_state)')] : []),
      ...statements,
      'COMMIT',
    ],
    firstCopy: 0,
    copies: copies.length,
  };
  const answers = await sendPipelined(client, plan, copies);
  return answers.get(copies.length) ?? [];
}

/** @param epoch of the writer, an SQL expression */
export function alarmsSql(alarms: readonly ChainAlarm[], epoch: string): string {
  const rows = alarms.map(
    ({ tickNumber, kind, detail }) => `(${tickNumber}, '${kind}', ${escapeLiteral(detail)}, ${epoch})`,
  );
  return `INSERT INTO chain_alarms (tick_number, kind, detail, epoch) VALUES ${rows.join(', ')} ON CONFLICT DO NOTHING`;
}

/** @param which an SQL condition */
export function resolveSql(which: string): string {
  return `UPDATE dead_letters SET status = 'resolved', resolved_at = clock_timestamp() WHERE ${which}`;
}

/** The condition for the dead letters of these ids. */
export function anyOf(ids: readonly string[]): string {
  return `dead_letter_id IN (${ids.map((id) => BigInt(id)).join(', ')})`;
}
