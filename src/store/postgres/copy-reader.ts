import type { Client, Connection, Submittable } from 'pg';

const MESSAGE_HEADER_BYTES = 5;
/** 'd', CopyData */
const COPY_DATA = 0x64;
/** 'H', CopyOutResponse: the data of the next COPY starts */
const COPY_OUT = 0x48;
/** 'Z', ReadyForQuery: the query is complete */
const READY = 0x5a;

/** Takes the data of COPYs as it arrives; copies what it keeps. */
export interface CopyTarget {
  /** The data of the next COPY starts. */
  begin(): void;
  /** A part of a message: chunk[start, end). False: no more is wanted, and the caller has closed the connection. */
  data(chunk: Buffer, start: number, end: number): boolean;
  /** The message is complete: in practice one row. */
  messageEnd(): void;
  /** The query failed; at most once, nothing follows. */
  failed(error: Error): void;
  /** The query is complete and did not fail. */
  done(): void;
}

/** Runs one simple query of several statements; the data of each `COPY … TO STDOUT` among them goes to the target. */
export function readCopies(client: Client, sql: string, target: CopyTarget): void {
  client.query(new CopyReader(sql, target));
}

type DataHandler = (chunk: Buffer) => void;

/**
 * pg's contract for a query object. While it runs it reads the socket itself: CopyData goes to the target, every other
 * message is passed on to pg, whole. (The driver's own way costs an object and an event per row, several times the cost of
 * the row itself.)
 */
class CopyReader implements Submittable {
  readonly #sql: string;
  readonly #target: CopyTarget;
  #failed = false;
  /** the rest is ignored */
  #closed = false;
  /** of a CopyData message: bytes that have not arrived yet */
  #rest = 0;
  /** a message of another kind, or a header, that was split at the end of a chunk */
  #partial: Buffer | null = null;
  #connection: Connection | null = null;
  #driver: DataHandler | null = null;
  /** pg requires a callback of its own kind; the target is told instead */
  readonly callback = (): void => {};

  constructor(sql: string, target: CopyTarget) {
    this.#sql = sql;
    this.#target = target;
  }

  submit(connection: Connection): void {
    const [driver, ...others] = connection.stream.listeners('data') as DataHandler[];
    if (driver === undefined || others.length > 0)
      throw new Error('the driver reads its socket in another way');
    this.#connection = connection;
    this.#driver = driver;
    connection.stream.off('data', driver);
    connection.stream.on('data', this.#read);
    connection.query(this.#sql);
  }

  handleRowDescription(): void {}
  handleDataRow(): void {}
  handlePortalSuspended(): void {}
  handleEmptyQuery(): void {}
  handleCommandComplete(): void {}

  handleError(error: Error): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#target.failed(error);
  }

  handleReadyForQuery(): void {
    if (!this.#failed) this.#target.done();
  }

  readonly #read = (incoming: Buffer): void => {
    if (this.#closed) return;
    let chunk = incoming;
    if (this.#partial !== null) {
      chunk = Buffer.concat([this.#partial, incoming]);
      this.#partial = null;
    }
    let at = this.#rest > 0 ? this.#takeData(chunk, 0, this.#rest) : 0;
    while (at < chunk.length && !this.#closed) {
      if (chunk.length - at < MESSAGE_HEADER_BYTES) break;
      const type = chunk[at];
      const length = chunk.readInt32BE(at + 1) - 4;
      const start = at + MESSAGE_HEADER_BYTES;
      if (type === COPY_DATA) {
        at = this.#takeData(chunk, start, length);
        continue;
      }
      if (chunk.length - start < length) break;
      if (type === COPY_OUT) this.#target.begin();
      if (type === READY) {
        this.#handBack(chunk.subarray(at));
        return;
      }
      this.#driver?.(chunk.subarray(at, start + length));
      at = start + length;
    }
    if (at < chunk.length && !this.#closed) this.#partial = Buffer.from(chunk.subarray(at));
  };

  /** Consumes the part of a message's data in this chunk; returns the position after it. */
  #takeData(chunk: Buffer, start: number, length: number): number {
    const end = Math.min(chunk.length, start + length);
    this.#rest = start + length - end;
    if (end > start && !this.#target.data(chunk, start, end)) {
      this.#closed = true;
      return chunk.length;
    }
    if (this.#rest === 0) this.#target.messageEnd();
    return end;
  }

  #handBack(rest: Buffer): void {
    const stream = this.#connection?.stream;
    const driver = this.#driver;
    if (stream === undefined || driver === null) return;
    stream.off('data', this.#read);
    stream.on('data', driver);
    driver(rest);
  }
}
