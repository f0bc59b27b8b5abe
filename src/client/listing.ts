import { ApiError } from './api-error.ts';
import type { CallOptions, QueryValues, Transport } from './transport.ts';

/** What lists can be had as, besides JSON, with their media types. */
const FORMATS = {
  csv: 'text/csv',
  ndjson: 'application/x-ndjson',
  arrow: 'application/vnd.apache.arrow.stream',
} as const;

export type Format = keyof typeof FORMATS;

export interface Page<T> {
  items: T[];
  /** where the next page begins; null: this is the last one */
  next: string | null;
}

export interface ListOptions extends CallOptions {
  /** items of a page, 1 to 10,000; default 1,000 */
  limit?: number;
}

/** The bytes of a list in a format. */
export interface FormattedList {
  contentType: string;
  /** where the next page begins, where `limit` asked for one page; null: nothing follows */
  next: string | null;
  body: ReadableStream<Uint8Array>;
}

/** A list of the API. Nothing is asked for before it is read; each reading asks anew. */
export class Listing<T> implements AsyncIterable<T> {
  readonly #transport: Transport;
  readonly #path: string;
  readonly #query: QueryValues;
  readonly #options: ListOptions;
  readonly #decode: (item: unknown) => T;

  constructor(
    transport: Transport,
    path: string,
    query: QueryValues,
    options: ListOptions,
    decode: (item: unknown) => T,
  ) {
    this.#transport = transport;
    this.#path = path;
    this.#query = query;
    this.#options = options;
    this.#decode = decode;
  }

  /** One page; the first without a cursor. Rejects with ApiError. */
  async page(cursor?: string): Promise<Page<T>> {
    const { limit, signal } = this.#options;
    const query = { ...this.#query, limit, cursor };
    const answer = await this.#transport.json({ method: 'GET', path: this.#path, query }, { signal });
    const { items, next } = answer as { items?: unknown; next?: unknown };
    if (!Array.isArray(items) || (typeof next !== 'string' && next !== null))
      throw new ApiError('bad_answer', `${this.#path} is answered without items and next`, { status: 200 });
    return { items: items.map((item) => this.#decode(item)), next };
  }

  /** All pages, one after the other; the next is asked for when the one before was taken. */
  async *pages(): AsyncGenerator<Page<T>, void, void> {
    let cursor: string | undefined;
    for (;;) {
      const page = await this.page(cursor);
      yield page;
      if (page.next === null) return;
      if (page.next === cursor)
        throw new ApiError('bad_answer', `${this.#path} answers with the cursor it was asked for`, {
          status: 200,
        });
      cursor = page.next;
    }
  }

  /** All items of all pages. */
  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, void> {
    for await (const { items } of this.pages()) yield* items;
  }

  /**
   * The whole list as bytes of a format, read at the pace of who reads; with `limit` one page. Rejects with ApiError; a
   * stream that breaks off fails its reader, and is not repeated.
   */
  async as(format: Format, cursor?: string): Promise<FormattedList> {
    const { limit, signal } = this.#options;
    const { body, headers } = await this.#transport.open(
      {
        method: 'GET',
        path: this.#path,
        query: { ...this.#query, limit, cursor, format },
        headers: { accept: FORMATS[format] },
      },
      { signal },
    );
    return { contentType: headers.get('content-type') ?? FORMATS[format], next: nextOf(headers), body };
  }
}

/** The cursor in `Link: <…?cursor=…>; rel="next"`. */
function nextOf(headers: Headers): string | null {
  const link = /<([^>]*)>\s*;[^,]*\brel="?next"?/i.exec(headers.get('link') ?? '');
  return link === null ? null : new URL(link[1], 'http://server').searchParams.get('cursor');
}
