import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Batch } from '../../core/table/batch.ts';
import type { Column, Value } from '../../core/table/column.ts';
import type { Page } from '../../store/queries/query.ts';
import { arrow } from '../format/arrow.ts';
import { csv } from '../format/csv.ts';
import { jsonItem, jsonPage, ndjson } from '../format/json.ts';
import { encodeCursor } from './cursor.ts';
import { ApiError } from './errors.ts';
import { CONTENT_TYPES, formatFor, type Format } from './media.ts';
import { LIMIT_DEFAULT } from './parameters.ts';

/** The rows of a list, by page and all of them. */
export interface Rows {
  columns: readonly Column[];
  page(limit: number): Promise<Page>;
  all(): AsyncIterable<Batch>;
}

export interface List {
  /** which query it is: see identityOf() */
  identity: string;
  /** what was asked for, as the query says it */
  asked: { limit?: number | undefined; format?: Format | undefined };
  rows: Rows;
  /** what a cursor holds of the last row of a page */
  keyOf: (last: Record<string, Value>) => Record<string, string>;
  /** rows where no limit is given and the format is not JSON; null: all */
  limitDefault?: number | null;
}

/** A client that takes nothing for so long is let go, ms. */
const STALL_MS = 60_000;

/** Sends a page, or all rows as they come from the database. */
export async function answerList(
  request: FastifyRequest,
  reply: FastifyReply,
  { identity, asked, rows, keyOf, limitDefault = null }: List,
): Promise<FastifyReply> {
  const format = formatFor(asked.format, request.headers.accept);
  void reply.header('vary', 'accept').type(CONTENT_TYPES[format]);
  const limit = asked.limit ?? (format === 'json' ? LIMIT_DEFAULT : limitDefault);
  if (limit === null) {
    if (request.method === 'HEAD') return reply.send('');
    return reply.send(await streamOf(formatted(format, rows.columns, rows.all()), reply));
  }
  const { batch, hasMore } = await rows.page(limit);
  const last = hasMore ? batch.last() : null;
  const next = last === null ? null : encodeCursor(identity, keyOf(last));
  if (next !== null) void reply.header('link', `<${nextAddress(request, next, limit)}>; rel="next"`);
  if (format === 'json') return reply.send(jsonPage(batch, next));
  return reply.send(await wholeOf(formatted(format, batch.columns, only(batch))));
}

/** Sends the one row of a batch. @throws ApiError not_found when there is none */
export async function answerOne(
  request: FastifyRequest,
  reply: FastifyReply,
  asked: { format?: Format | undefined },
  batch: Batch,
  missing: string,
): Promise<FastifyReply> {
  const format = formatFor(asked.format, request.headers.accept);
  if (batch.rows === 0) throw new ApiError('not_found', missing);
  void reply.header('vary', 'accept').type(CONTENT_TYPES[format]);
  if (format === 'json') return reply.send(Buffer.from(jsonItem(batch)));
  return reply.send(await wholeOf(formatted(format, batch.columns, only(batch))));
}

/** How long an answer may be used again. */
export type Lifetime =
  /** as long as one likes: its content cannot change */
  | 'unchanging'
  /** after asking whether it is still the same */
  | 'asked again';

/** Sends JSON with an ETag, or 304 to somebody who has it. */
export function answerTagged(
  request: FastifyRequest,
  reply: FastifyReply,
  json: Buffer,
  lifetime: Lifetime,
): FastifyReply {
  const etag = `"${createHash('sha256').update(json).digest('base64url').slice(0, 22)}"`;
  const control = lifetime === 'unchanging' ? 'private, max-age=31536000, immutable' : 'private, no-cache';
  void reply.header('etag', etag).header('cache-control', control).header('vary', 'accept, authorization');
  if (hasTag(request.headers['if-none-match'], etag)) return reply.code(304).send();
  return reply.type(CONTENT_TYPES.json).send(json);
}

function hasTag(sent: string | undefined, etag: string): boolean {
  if (sent === undefined) return false;
  return sent.split(',').some((tag) => tag.trim() === '*' || tag.trim().replace(/^W\//, '') === etag);
}

function formatted(
  format: Format,
  columns: readonly Column[],
  batches: AsyncIterable<Batch>,
): AsyncGenerator<Buffer, void, undefined> {
  switch (format) {
    case 'csv':
      return csv(columns, batches);
    case 'arrow':
      return arrow(columns, batches);
    case 'json':
    case 'ndjson':
      return ndjson(batches);
  }
}

async function* only(batch: Batch): AsyncGenerator<Batch, void, undefined> {
  await Promise.resolve();
  yield batch;
}

async function wholeOf(chunks: AsyncIterable<Buffer>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(chunks));
}

/** Bytes of a download that are made ahead of who reads it. */
const AHEAD_BYTES = 4 * 1024 * 1024;
/** The header of a format comes before the first rows do: with them, so that a query that fails is answered as such. */
const CHUNKS_AHEAD = 2;

async function streamOf(
  chunks: AsyncGenerator<Buffer, void, undefined>,
  reply: FastifyReply,
): Promise<Readable> {
  const ahead: Buffer[] = [];
  while (ahead.length < CHUNKS_AHEAD) {
    const next = await chunks.next();
    if (next.done === true) break;
    ahead.push(next.value);
  }
  async function* whole(): AsyncGenerator<Buffer, void, undefined> {
    try {
      yield* ahead;
      yield* chunks;
    } finally {
      await chunks.return();
    }
  }
  reply.raw.setTimeout(STALL_MS, () => reply.raw.destroy());
  return Readable.from(whole(), { objectMode: false, highWaterMark: AHEAD_BYTES });
}

/** The same address with the cursor. */
function nextAddress({ url }: FastifyRequest, cursor: string, limit: number): string {
  const address = new URL(url, 'http://here');
  address.searchParams.set('cursor', cursor);
  address.searchParams.set('limit', String(limit));
  return `${address.pathname}${address.search}`;
}
