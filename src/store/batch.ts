import { escapeLiteral, type Client, type Connection, type Submittable } from 'pg';
import { copyStatement, PROOFS, TICKS, TRANSACTIONS } from '../core/copy/tables.ts';
import type { TickRange } from '../core/ingest/ranges.ts';

/** Everything that one transaction writes. */
export interface BatchWrite {
  /** of the lease under which it is written: another one in the store refuses the batch */
  epoch: bigint;
  /** the contiguous range it covers, null when it holds frames without a number alone */
  range: TickRange | null;
  /** stored ticks; the rest of the range is in deadLetters */
  ticks: number;
  transactions: number;
  gaps: readonly TickRange[];
  fills: boolean;
  deadLetters: readonly DeadLetterRow[];
  /** CopyData … CopyDone of each table; not used when `ticks` is 0 */
  copy: { ticks: Uint8Array; proofs: Uint8Array; transactions: Uint8Array };
}

export interface DeadLetterRow {
  tickNumber: bigint | null;
  /** the number before a frame whose own number cannot be used */
  afterTick: bigint | null;
  reason: string;
  detail: string;
  raw: Uint8Array;
}

/**
 * Writes one batch as one transaction in one round trip: a simple query whose COPY data is sent right behind it,
 * without waiting for the server to ask. Where the server fails before a COPY it ignores the data that follows, as its
 * protocol says. The bytes are not changed and may be sent again.
 *
 * Rejects with the server's error (a `code`) or the connection's (none); the connection must then be thrown away, and
 * without a `code` the outcome is unknown.
 */
export function writeBatch(client: Client, batch: BatchWrite, asynchronousCommit: boolean): Promise<void> {
  const copies: Uint8Array[] = [];
  if (batch.ticks > 0) {
    copies.push(batch.copy.ticks, batch.copy.proofs);
    if (batch.transactions > 0) copies.push(batch.copy.transactions);
  }
  return sendPipelined(client, batchSql(batch, asynchronousCommit), copies);
}

/** One simple query that ends with COMMIT, and behind it the data of its COPY statements in their order. */
export function sendPipelined(client: Client, sql: string, copies: readonly Uint8Array[]): Promise<void> {
  return new Promise((resolve, reject) => {
    client.query(new PipelinedCopy([queryMessage(sql), ...copies], resolve, reject));
  });
}

/** pg's contract for a query object: submit() writes, the handlers are called with the server's answers. */
class PipelinedCopy implements Submittable {
  readonly #parts: readonly Uint8Array[];
  readonly #resolve: () => void;
  readonly #reject: (error: Error) => void;
  #failed = false;
  #lastTag = '';
  /** pg insists on a callback of its own kind; the promise is settled here */
  readonly callback = (): void => {};

  constructor(parts: readonly Uint8Array[], resolve: () => void, reject: (error: Error) => void) {
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
  handleDataRow(): void {}
  handleCopyInResponse(): void {}
  handlePortalSuspended(): void {}
  handleEmptyQuery(): void {}

  handleCommandComplete(message: { text: string }): void {
    this.#lastTag = message.text;
  }

  handleError(error: Error): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#reject(error);
  }

  handleReadyForQuery(): void {
    if (this.#failed) return;
    // a COMMIT of a transaction that failed answers ROLLBACK: an error was reported before, so this is an invariant
    if (this.#lastTag === 'COMMIT') this.#resolve();
    else this.handleError(new Error(`the transaction ended with ${this.#lastTag}`));
  }
}

function batchSql(batch: BatchWrite, asynchronousCommit: boolean): string {
  const { range, gaps } = batch;
  const inRange = batch.deadLetters.filter((letter) => letter.tickNumber !== null).length;
  const firstGap = gaps[0];
  const statements = [
    'BEGIN ISOLATION LEVEL READ COMMITTED',
    ...(asynchronousCommit ? ['SET LOCAL synchronous_commit = off'] : []),
    ...gaps
      .slice(1)
      .map((gap) => `INSERT INTO ingest_gaps (first_tick, last_tick) VALUES (${sqlRange(gap)})`),
    `SELECT ingest_begin_batch(${batch.epoch}, ${sqlRange(range)}, ${batch.ticks}, ${batch.transactions}, ${inRange}, ${sqlRange(firstGap ?? null)}, ${batch.fills})`,
    ...batch.deadLetters.map((letter) => deadLetterSql(letter, batch.epoch)),
  ];
  if (batch.ticks > 0) {
    statements.push(copyStatement(TICKS), copyStatement(PROOFS));
    if (batch.transactions > 0) statements.push(copyStatement(TRANSACTIONS));
  }
  return [...statements, 'COMMIT'].join(';\n');
}

function sqlRange(range: TickRange | null): string {
  return range === null ? 'NULL, NULL' : `${range.first}, ${range.last}`;
}

/** A function call and no COPY: the same frame sent twice must be the same row (ON CONFLICT), and these are rare. */
function deadLetterSql(letter: DeadLetterRow, epoch: bigint): string {
  const raw = `'\\x${Buffer.from(letter.raw.buffer, letter.raw.byteOffset, letter.raw.length).toString('hex')}'`;
  return `SELECT ingest_dead_letter(${letter.tickNumber ?? 'NULL'}, ${letter.afterTick ?? 'NULL'}, ${escapeLiteral(letter.reason)}, ${escapeLiteral(letter.detail)}, NULL, ${raw}, ${epoch})`;
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
