import { DatabaseError, escapeLiteral, type Client, type Connection, type Submittable } from 'pg';
import type { ChainAlarm } from '../core/copy/transcode.ts';
import { copyStatement, PROOFS, TICKS, TRANSACTIONS } from '../core/copy/tables.ts';
import type { TickRange } from '../core/ingest/ranges.ts';

/** Everything that one transaction writes. */
export interface BatchWrite {
  /** of the lease under which it is written: another one in the store refuses the batch */
  epoch: bigint;
  /** the contiguous range it covers, null when it holds frames without a number alone */
  range: TickRange | null;
  /** ticks with rows in `copy`; the rest of the range is in deadLetters, or `present` */
  ticks: number;
  transactions: number;
  /** what of the range is in the tables already: for the ledger's row only */
  present: { ticks: number; transactions: number };
  gaps: readonly TickRange[];
  fills: boolean;
  deadLetters: readonly DeadLetterRow[];
  /** recorded in chain_alarms */
  alarms: readonly ChainAlarm[];
  /** compare the links at both ends of the range with what is stored */
  checkLinks: boolean;
  /** CopyData … CopyDone of each table; not used when `ticks` is 0 */
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

/** Which part of a batch's transaction an error came from. `before`: up to the first COPY; `after`: behind the last. */
export type BatchStage = 'before' | 'rows' | 'after' | 'commit';

/** The server's error, and where the transaction was. */
export class BatchError extends Error {
  readonly stage: BatchStage;
  /** SQLSTATE */
  readonly code: string | undefined;

  constructor(error: DatabaseError, stage: BatchStage) {
    super(error.message, { cause: error });
    this.stage = stage;
    this.code = error.code;
  }
}

export interface WrittenBatch {
  /** ticks that checkLinks found not to continue the tick before, and that were not known before */
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
export function writeBatch(
  client: Client,
  batch: BatchWrite,
  asynchronousCommit: boolean,
): Promise<WrittenBatch> {
  return new Promise((resolve, reject) => {
    const plan = batchPlan(batch, asynchronousCommit);
    const parts = [queryMessage(plan.statements.join(';\n'))];
    if (batch.ticks > 0) {
      parts.push(batch.copy.ticks, batch.copy.proofs);
      if (batch.transactions > 0) parts.push(batch.copy.transactions);
    }
    client.query(new PipelinedCopy(plan, parts, resolve, reject));
  });
}

/** pg's contract for a query object: submit() writes, the handlers are called with the server's answers. */
class PipelinedCopy implements Submittable {
  readonly #plan: BatchPlan;
  readonly #parts: readonly Uint8Array[];
  readonly #resolve: (written: WrittenBatch) => void;
  readonly #reject: (error: Error) => void;
  readonly #brokenLinks: bigint[] = [];
  #completed = 0;
  #failed = false;
  #lastTag = '';
  /** pg insists on a callback of its own kind; the promise is settled here */
  readonly callback = (): void => {};

  constructor(
    plan: BatchPlan,
    parts: readonly Uint8Array[],
    resolve: (written: WrittenBatch) => void,
    reject: (error: Error) => void,
  ) {
    this.#plan = plan;
    this.#parts = parts;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  submit(connection: Connection): void {
    const { stream } = connection;
    stream.cork();
    for (const part of this.#parts) stream.write(part);
    stream.uncork();
  }

  handleRowDescription(): void {}

  handleDataRow({ fields }: { fields: (string | null)[] }): void {
    if (this.#completed === this.#plan.checkLinks && fields[0] != null)
      this.#brokenLinks.push(BigInt(fields[0]));
  }

  handleCopyInResponse(): void {}
  handlePortalSuspended(): void {}
  handleEmptyQuery(): void {}

  handleCommandComplete(message: { text: string }): void {
    this.#lastTag = message.text;
    this.#completed += 1;
  }

  handleError(error: Error): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#reject(error instanceof DatabaseError ? new BatchError(error, this.#stage()) : error);
  }

  handleReadyForQuery(): void {
    if (this.#failed) return;
    // a COMMIT of a transaction that failed answers ROLLBACK: an error was reported before, so this is an invariant
    if (this.#lastTag === 'COMMIT') this.#resolve({ brokenLinks: this.#brokenLinks });
    else this.handleError(new Error(`the transaction ended with ${this.#lastTag}`));
  }

  /** Each statement that succeeds is answered with a tag, so the one that failed is the next. */
  #stage(): BatchStage {
    const { statements, firstCopy, copies } = this.#plan;
    if (this.#completed < firstCopy) return 'before';
    if (this.#completed < firstCopy + copies) return 'rows';
    return this.#completed === statements.length - 1 ? 'commit' : 'after';
  }
}

interface BatchPlan {
  statements: string[];
  /** index of the first COPY, or of what stands in its place */
  firstCopy: number;
  copies: number;
  /** index of the check of links, or -1 */
  checkLinks: number;
}

function batchPlan(batch: BatchWrite, asynchronousCommit: boolean): BatchPlan {
  const { range, gaps, present, alarms } = batch;
  // of a conflict the tables hold the number: to the ledger it is a stored tick
  const inRange = batch.deadLetters.filter(
    ({ tickNumber, reason }) => tickNumber !== null && reason !== 'conflict',
  ).length;
  const firstGap = gaps[0];
  const statements = [
    'BEGIN ISOLATION LEVEL READ COMMITTED',
    ...(asynchronousCommit ? ['SET LOCAL synchronous_commit = off'] : []),
    ...gaps
      .slice(1)
      .map((gap) => `INSERT INTO ingest_gaps (first_tick, last_tick) VALUES (${sqlRange(gap)})`),
    `SELECT ingest_begin_batch(${batch.epoch}, ${sqlRange(range)}, ${batch.ticks + present.ticks}, ${batch.transactions + present.transactions}, ${inRange}, ${sqlRange(firstGap ?? null)}, ${batch.fills})`,
    ...batch.deadLetters.map((letter) => deadLetterSql(letter, batch.epoch)),
  ];
  const firstCopy = statements.length;
  if (batch.ticks > 0) {
    statements.push(copyStatement(TICKS), copyStatement(PROOFS));
    if (batch.transactions > 0) statements.push(copyStatement(TRANSACTIONS));
    if (batch.fills) statements.push(`SELECT ingest_resolve_dead_letters(${sqlRange(range)})`);
  }
  const copies = statements.length - firstCopy;
  if (alarms.length > 0) statements.push(alarmsSql(alarms, batch.epoch));
  const checkLinks = batch.checkLinks && range !== null ? statements.length : -1;
  if (checkLinks >= 0) statements.push(`SELECT ingest_check_links(${sqlRange(range)}, ${batch.epoch})`);
  return { statements: [...statements, 'COMMIT'], firstCopy, copies, checkLinks };
}

function alarmsSql(alarms: readonly ChainAlarm[], epoch: bigint): string {
  const rows = alarms.map(
    ({ tickNumber, kind, detail }) => `(${tickNumber}, '${kind}', ${escapeLiteral(detail)}, ${epoch})`,
  );
  return `INSERT INTO chain_alarms (tick_number, kind, detail, epoch) VALUES ${rows.join(', ')} ON CONFLICT DO NOTHING`;
}

function sqlRange(range: TickRange | null): string {
  return range === null ? 'NULL, NULL' : `${range.first}, ${range.last}`;
}

/** A function call and no COPY: the same frame sent twice must be the same row (ON CONFLICT), and these are rare. */
function deadLetterSql(letter: DeadLetterRow, epoch: bigint): string {
  const { tickNumber, afterTick, reason, detail, sqlstate, raw, storedSha256 } = letter;
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

function sqlBytes(bytes: Uint8Array): string {
  return `'\\x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex')}'`;
}

/** 'Q', int32 length, text, NUL. */
function queryMessage(sql: string): Uint8Array {
  const length = Buffer.byteLength(sql);
  const message = Buffer.allocUnsafe(1 + 4 + length + 1);
  message[0] = 0x51;
  message.writeInt32BE(4 + length + 1, 1);
  message.write(sql, 5);
  message[message.length - 1] = 0;
  return message;
}
