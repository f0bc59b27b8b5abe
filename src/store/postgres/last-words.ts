import { DatabaseError, type Client } from 'pg';

const words = new WeakMap<Client, DatabaseError>();

/** Keeps why the server ended this session between two statements: the next one says only that the connection is gone. */
export function keepLastWords(client: Client): void {
  client.on('error', (error) => {
    if (error instanceof DatabaseError && !words.has(client)) words.set(client, error);
  });
}

/** What the server said, where `error` only tells that the connection is gone. */
export function serverError(client: Client, error: unknown): unknown {
  return error instanceof DatabaseError ? error : (words.get(client) ?? error);
}
