import type { Client } from 'pg';

/** Those that hold every text that we may be sent: the second one takes bytes as they come. */
const ENCODINGS = new Set(['UTF8', 'SQL_ASCII']);

/**
 * Watches what the server says of its database's encoding while the session begins. The function that it returns tells,
 * once it has begun, which encoding cannot hold every text; null: it can.
 */
export function watchEncoding(client: Client): () => string | null {
  let encoding: string | null = null;
  client.connection.on(
    'parameterStatus',
    ({ parameterName, parameterValue }: { parameterName: string; parameterValue: string }) => {
      if (parameterName === 'server_encoding') encoding = parameterValue;
    },
  );
  return () => (encoding === null || ENCODINGS.has(encoding) ? null : encoding);
}
