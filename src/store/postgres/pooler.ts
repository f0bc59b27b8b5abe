import type { Client } from 'pg';

const pooled = new WeakSet<Client>();

/**
 * Notes whether a pooler stands between this new connection and its server: then the server process that answers is not
 * the one that the connection was greeted by. Whether it hands out sessions or single transactions (pgbouncer's pool_mode)
 * does not show, so nothing here relies on the state of a session then: no prepared statement, no setting, no temporary
 * table, no lock outlives its transaction.
 */
export async function lookForPooler(client: Client): Promise<boolean> {
  const { processID } = client as unknown as { processID: number | null };
  if ((await pidOf(client)) === processID) return false;
  pooled.add(client);
  return true;
}

export function isPooled(client: Client): boolean {
  return pooled.has(client);
}

/** For a query object: prepared once under this name, or each time where the session is not ours. */
export function prepared(client: Client, name: string): { name?: string } {
  return isPooled(client) ? {} : { name };
}

async function pidOf(client: Client): Promise<number> {
  return (await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')).rows[0].pid;
}
