import type { Client } from 'pg';
import { ByteSink } from '../../core/copy/sink.ts';
import { Signal } from '../../core/wait.ts';
import { readCopies, type CopyTarget } from './copy-reader.ts';

/** A page is handed over from this size on, at the end of a row. */
const PAGE_BYTES = 1024 * 1024;
/** Pages that wait to be taken; then the socket is paused, and the server waits. */
const WAITING_MAX = 2;

/**
 * The data of one `COPY … TO STDOUT`, in pages of whole rows. A page's memory is used again once the next one is asked for.
 * Whoever does not read it to the end must drop the connection: the server would keep sending.
 *
 * Throws the server's error (has a `code`) or the connection's (has none).
 */
export async function* copyStream(client: Client, sql: string): AsyncGenerator<Uint8Array, void, undefined> {
  const pages = new Pages(client);
  readCopies(client, sql, pages);
  for (;;) {
    const page = await pages.next();
    if (page === null) return;
    yield page.bytes.subarray(0, page.length);
    pages.giveBack(page);
  }
}

class Pages implements CopyTarget {
  readonly #client: Client;
  readonly #full: ByteSink[] = [];
  readonly #changed = new Signal();
  #filling = new ByteSink();
  #spare: ByteSink | null = null;
  #isPaused = false;
  #isDone = false;
  #error: Error | null = null;

  constructor(client: Client) {
    this.#client = client;
  }

  /** Null at the end. */
  async next(): Promise<ByteSink | null> {
    for (;;) {
      if (this.#error !== null) throw this.#error;
      const page = this.#full.shift();
      if (page !== undefined) {
        this.#resume();
        return page;
      }
      if (this.#isDone) return null;
      await this.#changed.wait();
    }
  }

  giveBack(page: ByteSink): void {
    this.#spare = page;
  }

  begin(): void {}

  data(chunk: Buffer, start: number, end: number): boolean {
    const page = this.#filling;
    page.ensure(end - start);
    chunk.copy(page.bytes, page.length, start, end);
    page.length += end - start;
    return true;
  }

  messageEnd(): void {
    if (this.#filling.length >= PAGE_BYTES) this.#handOver();
  }

  failed(error: Error): void {
    this.#error = error;
    this.#changed.fire();
  }

  done(): void {
    if (this.#filling.length > 0) this.#handOver();
    this.#isDone = true;
    this.#resume();
    this.#changed.fire();
  }

  #handOver(): void {
    this.#full.push(this.#filling);
    this.#filling = this.#spare ?? new ByteSink();
    this.#spare = null;
    this.#filling.reset();
    if (this.#full.length >= WAITING_MAX && !this.#isPaused) {
      this.#isPaused = true;
      this.#client.connection.stream.pause();
    }
    this.#changed.fire();
  }

  #resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#client.connection.stream.resume();
  }
}
