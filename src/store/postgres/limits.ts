import type { Client } from 'pg';

/** How many connections the server lets an ordinary role open: max_connections less the ones it reserves. */
export async function serverConnections(client: Client): Promise<number> {
  const { rows } = await client.query<{ free: string }>(
    `SELECT sum(CASE name WHEN 'max_connections' THEN setting::int ELSE -setting::int END) AS free FROM pg_settings
     WHERE name IN ('max_connections', 'superuser_reserved_connections', 'reserved_connections')`,
  );
  return Number(rows[0]?.free ?? 0);
}
