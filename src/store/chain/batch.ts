import { escapeLiteral, type Client } from 'pg';
import type { ChainAlarm } from '../../core/copy/transcode.ts';
import { copyStatement, PROOFS, TICKS, TRANSACTIONS } from '../../core/copy/tables.ts';
import type { TickRange } from '../../core/ingest/ranges.ts';
import { sendPipelined, type PipelinedPlan } from '../postgres/pipelined-copy.ts';
import { beginWriting } from '../postgres/pooler.ts';
import { alarmsSql } from './single-tick.ts';

/** Everything that one transaction writes. */
export interface BatchWrite {
  /** of the lease under which it is written: the store refuses the batch if it has another one */
  epoch: bigint;
  /** the contiguous range it covers, null when it holds only frames without a number */
  range: TickRange | null;
  /** ticks with rows in `copy`; the rest of the range is in deadLetters, or `present` */
  ticks: number;
  transactions: number;
  /** ticks of the range already in the tables: only counted in the ledger's row */
  present: { ticks: number; transactions: number };
  gaps: readonly TickRange[];
  fills: boolean;
  deadLetters: readonly DeadLetterRow[];
  /** recorded in chain_alarms */
  alarms: readonly ChainAlarm[];
  /** compare the links at both ends of the range with the stored ticks */
  checkLinks: boolean;
  /** CopyData … CopyDone of each table; unused when `ticks` is 0 */
  copy: { ticks: Uint8Array; proofs: Uint8Array; transactions: Uint8Array };
}

export interface DeadLetterRow {
  tickNumber: bigint | null;
  /** the number before a frame whose own number cannot be used */
  afterTick: bigint | null;
  reason: string;
  detail: string;
  /** of the database's refusal */
  sqlstate: string | null;
  /** reason conflict: digest of the stored tick */
  storedSha256: Uint8Array | null;
  raw: Uint8Array;
}

export interface WrittenBatch {
  /** ticks that checkLinks found not to continue the previous tick, and that were not known before */
  brokenLinks: bigint[];
}

/**
 * Writes one batch as one transaction in one round trip: a simple query whose COPY data is sent right behind it,
 * without waiting for the server to ask. Where the server fails before a COPY it ignores the data that follows, as its
 * protocol says. The bytes are not changed and may be sent again.
 *
 * Rejects with a BatchError or the connection's error; the connection must then be thrown away, and after the latter
 * the outcome is unknown.
 */
export async function writeBatch(
  client: Client,
  batch: BatchWrite,
  asynchronousCommit: boolean,
): Promise<WrittenBatch> {
  const copies: Uint8Array[] = [];
  if (batch.ticks > 0) {
    copies.push(batch.copy.ticks, batch.copy.proofs);
    if (batch.transactions > 0) copies.push(batch.copy.transactions);
  }
  const { checkLinks, ...plan } = batchPlan(client, batch, asynchronousCommit);
  const rows = await sendPipelined(client, plan, copies);
  return { brokenLinks: (rows.get(checkLinks) ?? []).map(BigInt) };
}

interface BatchPlan extends PipelinedPlan {
  /** index of the check of links, or -1 */
  checkLinks: number;
}

function batchPlan(client: Client, batch: BatchWrite, asynchronousCommit: boolean): BatchPlan {
  const { range, gaps, present, alarms } = batch;
  // the tables hold the number of a conflict: to the ledger it is a stored tick
  const inRange = batch.deadLetters.filter(
    ({ tickNumber, reason }) => tickNumber !== null && reason !== 'conflict',
  ).length;
  const firstGap = gaps[0];
  const statements = [
    ...beginWriting(client),
    ...(asynchronousCommit ? ['SET LOCAL synchronous_commit = off'] : []),
    ...gaps
      .slice(1)
      .map((gap) => `INSERT INTO ingest_gaps (first_tick, last_tick) VALUES (${sqlRange(gap)})`),
    `SELECT ingest_begin_batch(${batch.epoch}, ${sqlRange(range)}, ${batch.ticks + present.ticks}, ${batch.transactions + present.transactions}, ${inRange}, ${sqlRange(firstGap ?? null)}, ${batch.fills})`,
    ...batch.deadLetters.map((deadLetter) => deadLetterSql(deadLetter, batch.epoch)),
  ];
  const firstCopy = statements.length;
  if (batch.ticks > 0) {
    statements.push(copyStatement(TICKS), copyStatement(PROOFS));
    if (batch.transactions > 0) statements.push(copyStatement(TRANSACTIONS));
  }
  const copies = statements.length - firstCopy;
  if (batch.fills && batch.ticks > 0) {
    statements.push(`SELECT ingest_resolve_dead_letters(${sqlRange(range)})`);
  }
  if (alarms.length > 0) statements.push(alarmsSql(alarms, `${batch.epoch}`));
  const checkLinks = batch.checkLinks && range !== null ? statements.length : -1;
  if (checkLinks >= 0) statements.push(`SELECT ingest_check_links(${sqlRange(range)}, ${batch.epoch})`);
  return { statements: [...statements, 'COMMIT'], firstCopy, copies, checkLinks };
}

function sqlRange(range: TickRange | null): string {
  return range === null ? 'NULL, NULL' : `${range.first}, ${range.last}`;
}

/** A function call, not a COPY: the same frame sent twice must be the same row (ON CONFLICT), and these are rare. */
function deadLetterSql(deadLetter: DeadLetterRow, epoch: bigint): string {
  const { tickNumber, afterTick, reason, detail, sqlstate, raw, storedSha256 } = deadLetter;
  const values = [
    tickNumber ?? 'NULL',
    afterTick ?? 'NULL',
    escapeLiteral(reason),
    escapeLiteral(detail),
    sqlstate === null ? 'NULL' : escapeLiteral(sqlstate),
    sqlBytes(raw),
    epoch,
    storedSha256 === null ? 'NULL' : sqlBytes(storedSha256),
  ];
  return `SELECT ingest_dead_letter(${values.join(', ')})`;
}

/** Without a backslash: what one means in a literal is a setting, and behind a pooler another client's may hold. */
function sqlBytes(bytes: Uint8Array): string {
  return `decode('${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex')}', 'hex')`;
}
