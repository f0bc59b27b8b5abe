import type { Client, Connection, Submittable } from 'pg';
import type { ByteSink } from '../../core/copy/sink.ts';
import { destroy } from './session.ts';

/** The data to be read exceeds its limit. The connection is closed: the server would keep sending. */
export class CopyTooLargeError extends Error {
  override name = 'CopyTooLargeError';
}

const MESSAGE_HEADER_BYTES = 5;
/** 'd', CopyData */
const COPY_DATA = 0x64;
/** 'H', CopyOutResponse: the data of the next COPY starts */
const COPY_OUT = 0x48;
/** 'Z', ReadyForQuery: the query is complete */
const READY = 0x5a;

/**
 * Runs one simple query of several statements, including as many `COPY … TO STDOUT` as there are sinks, and puts the
 * data of each into its sink: one round trip, and a memcpy per row. (The driver's own way costs an object and an event
 * per row, several times the cost of the row itself.)
 *
 * Rejects with the server's error (has a `code`), the connection's (has none), or CopyTooLargeError above `bytesMax` in
 * total.
 */
export function copyOut(
  client: Client,
  sql: string,
  sinks: readonly ByteSink[],
  bytesMax: number,
): Promise<void> {
  for (const sink of sinks) sink.reset();
  return new Promise((resolve, reject) => {
    client.query(new CopyOut(client, sql, { sinks, bytesMax }, resolve, reject));
  });
}

type DataHandler = (chunk: Buffer) => void;

/**
 * pg's contract for a query object. While it runs it reads the socket itself: CopyData goes into the sinks, every other
 * message is passed on to pg, whole.
 */
class CopyOut implements Submittable {
  readonly #client: Client;
  readonly #sql: string;
  readonly #sinks: readonly ByteSink[];
  readonly #bytesMax: number;
  readonly #resolve: () => void;
  readonly #reject: (error: Error) => void;
  #failed = false;
  /** over the limit: the rest is ignored */
  #closed = false;
  /** the sink that receives the data, −1 before the first COPY */
  #at = -1;
  #bytes = 0;
  /** of a CopyData message: bytes that have not arrived yet */
  #rest = 0;
  /** a message of another kind, or a header, that was split at the end of a chunk */
  #partial: Buffer | null = null;
  #connection: Connection | null = null;
  #driver: DataHandler | null = null;
  /** pg requires a callback of its own kind; the promise is settled here */
  readonly callback = (): void => {};

  constructor(
    client: Client,
    sql: string,
    target: { sinks: readonly ByteSink[]; bytesMax: number },
    resolve: () => void,
    reject: (error: Error) => void,
  ) {
    this.#client = client;
    this.#sql = sql;
    this.#sinks = target.sinks;
    this.#bytesMax = target.bytesMax;
    this.#resolve = resolve;
    this.#reject = reject;
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
    this.#reject(error);
  }

  handleReadyForQuery(): void {
    if (this.#failed) return;
    if (this.#at === this.#sinks.length - 1) this.#resolve();
    else this.handleError(new Error(`${this.#at + 1} of ${this.#sinks.length} COPYs sent something`));
  }

  readonly #read = (incoming: Buffer): void => {
    if (this.#closed) return;
    let chunk = incoming;
    if (this.#partial !== null) {
      chunk = Buffer.concat([this.#partial, incoming]);
      this.#partial = null;
    }
    let at = this.#takeData(chunk, 0, this.#rest);
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
      if (type === COPY_OUT) this.#at += 1;
      if (type === READY) {
        this.#handBack(chunk.subarray(at));
        return;
      }
      this.#driver?.(chunk.subarray(at, start + length));
      at = start + length;
    }
    if (at < chunk.length) this.#partial = Buffer.from(chunk.subarray(at));
  };

  /** Consumes the part of a message's data in this chunk; returns the position after it. */
  #takeData(chunk: Buffer, start: number, length: number): number {
    const end = Math.min(chunk.length, start + length);
    this.#rest = start + length - end;
    if (end === start) return end;
    const sink = this.#sinks[this.#at];
    if (sink === undefined) throw new Error('data of a COPY that was not asked for');
    this.#bytes += end - start;
    if (this.#bytes > this.#bytesMax) {
      this.handleError(new CopyTooLargeError(`more than ${this.#bytesMax} bytes`));
      this.#closed = true;
      destroy(this.#client);
      return chunk.length;
    }
    sink.ensure(end - start);
    chunk.copy(sink.bytes, sink.length, start, end);
    sink.length += end - start;
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
