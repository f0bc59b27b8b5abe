import { createHash } from 'node:crypto';
import { z } from 'zod';
import { ApiError } from './errors.ts';

/**
 * Where a page ended: the key of its last row, and which query it belongs to. Opaque to clients; nothing in it is trusted
 * beyond being such a key.
 */
const position = z.strictObject({ of: z.string(), key: z.record(z.string(), z.string()) });

/** Which query it is: its route and what it asks for, without what a page is like. */
export function identityOf(route: string, asked: Readonly<Record<string, unknown>>): string {
  const { limit, cursor, format, ...rest } = asked;
  void [limit, cursor, format];
  const known = Object.entries(rest)
    .filter(([, value]) => value !== undefined && value !== null)
    .map(([name, value]) => [name, String(value)])
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256')
    .update(JSON.stringify([route, known]))
    .digest('base64url')
    .slice(0, 16);
}

export function encodeCursor(identity: string, key: Readonly<Record<string, string>>): string {
  return Buffer.from(JSON.stringify({ of: identity, key })).toString('base64url');
}

/**
 * The key that a cursor of this query holds.
 * @throws ApiError bad_request when it is none, or of another query
 */
export function decodeCursor<T>(cursor: string, identity: string, key: z.ZodType<T>): T {
  const read = position.safeParse(jsonOf(cursor));
  if (!read.success) throw mistake('is no cursor of this API');
  if (read.data.of !== identity) throw mistake('is of another query: ask for the first page without it');
  const parsed = key.safeParse(read.data.key);
  if (!parsed.success) throw mistake('is no cursor of this API');
  return parsed.data;
}

function jsonOf(cursor: string): unknown {
  const bytes = Buffer.from(cursor, 'base64url');
  // the decoder passes over what is not of its alphabet
  if (bytes.toString('base64url') !== cursor) return null;
  try {
    return JSON.parse(bytes.toString()) as unknown;
  } catch {
    return null;
  }
}

function mistake(message: string): ApiError {
  return new ApiError('bad_request', 'the cursor cannot be used', {
    details: [{ path: 'query.cursor', message }],
  });
}
