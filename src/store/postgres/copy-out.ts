import type { Client } from 'pg';
import type { ByteSink } from '../../core/copy/sink.ts';
import { readCopies, type CopyTarget } from './copy-reader.ts';
import { destroy } from './session.ts';

/** The data to be read exceeds its limit. The connection is closed: the server would keep sending. */
export class CopyTooLargeError extends Error {
  override name = 'CopyTooLargeError';
}

/**
 * Runs one simple query of several statements, including as many `COPY … TO STDOUT` as there are sinks, and puts the
 * data of each into its sink: one round trip, and a memcpy per row.
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
    readCopies(client, sql, new IntoSinks(client, { sinks, bytesMax }, resolve, reject));
  });
}

class IntoSinks implements CopyTarget {
  readonly #client: Client;
  readonly #sinks: readonly ByteSink[];
  readonly #bytesMax: number;
  readonly #resolve: () => void;
  readonly failed: (error: Error) => void;
  /** the sink that receives the data, −1 before the first COPY */
  #at = -1;
  #bytes = 0;

  constructor(
    client: Client,
    { sinks, bytesMax }: { sinks: readonly ByteSink[]; bytesMax: number },
    resolve: () => void,
    reject: (error: Error) => void,
  ) {
    this.#client = client;
    this.#sinks = sinks;
    this.#bytesMax = bytesMax;
    this.#resolve = resolve;
    this.failed = reject;
  }

  begin(): void {
    this.#at += 1;
  }

  data(chunk: Buffer, start: number, end: number): boolean {
    const sink = this.#sinks[this.#at];
    if (sink === undefined) throw new Error('data of a COPY that was not asked for');
    this.#bytes += end - start;
    if (this.#bytes > this.#bytesMax) {
      this.failed(new CopyTooLargeError(`more than ${this.#bytesMax} bytes`));
      destroy(this.#client);
      return false;
    }
    sink.ensure(end - start);
    chunk.copy(sink.bytes, sink.length, start, end);
    sink.length += end - start;
    return true;
  }

  messageEnd(): void {}

  done(): void {
    if (this.#at === this.#sinks.length - 1) this.#resolve();
    else this.failed(new Error(`${this.#at + 1} of ${this.#sinks.length} COPYs sent something`));
  }
}
