import { DatabaseError, type Client, type Connection, type Submittable } from 'pg';

/** Which part of a transaction an error came from. `before`: up to the first COPY; `after`: following the last. */
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

export interface PipelinedPlan {
  /** the last one is COMMIT */
  statements: string[];
  /** index of the first COPY, or of the statement in its place */
  firstCopy: number;
  copies: number;
}

/** First column of the rows returned by statements, by the statement's index; nulls left out. */
export type FirstColumns = Map<number, string[]>;

/**
 * One transaction in one round trip: a simple query, and the data of its COPY statements right behind it in their order
 * (CopyData … CopyDone), without waiting for the server to ask. Where the server fails before a COPY it ignores the data
 * that follows, as its protocol says. The bytes are not changed and may be sent again.
 *
 * Rejects with a BatchError or the connection's error; the connection must then be thrown away, and after the latter the
 * outcome is unknown.
 */
export function sendPipelined(
  client: Client,
  plan: PipelinedPlan,
  copies: readonly Uint8Array[],
): Promise<FirstColumns> {
  return new Promise((resolve, reject) => {
    const query = queryMessage(plan.statements.join(';\n'));
    client.query(new PipelinedCopy(plan, [query, ...copies], resolve, reject));
  });
}

/** pg's contract for a query object: submit() writes, the handlers receive the server's answers. */
class PipelinedCopy implements Submittable {
  readonly #plan: PipelinedPlan;
  readonly #parts: readonly Uint8Array[];
  readonly #resolve: (rows: FirstColumns) => void;
  readonly #reject: (error: Error) => void;
  readonly #rows: FirstColumns = new Map();
  #completed = 0;
  #failed = false;
  #lastTag = '';
  /** pg requires a callback of its own kind; the promise is settled here */
  readonly callback = (): void => {};

  constructor(
    plan: PipelinedPlan,
    parts: readonly Uint8Array[],
    resolve: (rows: FirstColumns) => void,
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
    const text = fields[0];
    if (text == null) return;
    const rows = this.#rows.get(this.#completed);
    if (rows === undefined) this.#rows.set(this.#completed, [text]);
    else rows.push(text);
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
    if (this.#lastTag === 'COMMIT') this.#resolve(this.#rows);
    else this.handleError(new Error(`the transaction ended with ${this.#lastTag}`));
  }

  /** Each successful statement is answered with a tag, so the failed one is the next. */
  #stage(): BatchStage {
    const { statements, firstCopy, copies } = this.#plan;
    if (this.#completed < firstCopy) return 'before';
    if (this.#completed < firstCopy + copies) return 'rows';
    return this.#completed === statements.length - 1 ? 'commit' : 'after';
  }
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
