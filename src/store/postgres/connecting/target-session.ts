import type { Client } from 'pg';
import type { TargetSession } from '../database-url.ts';

/** Whether a new session's server is what target_session_attrs wants. Asked before our settings are made: they allow writing. */
export async function isWanted(client: Client, wanted: TargetSession): Promise<boolean> {
  const { rows } = await client.query<{ standby: boolean; reads: boolean }>(
    `SELECT pg_catalog.pg_is_in_recovery() AS standby, pg_catalog.current_setting('transaction_read_only') = 'on' AS reads`,
  );
  const [{ standby, reads }] = rows;
  switch (wanted) {
    case 'any':
    case 'prefer-standby':
      return true;
    case 'read-write':
      return !reads;
    case 'read-only':
      return reads;
    case 'primary':
      return !standby;
    case 'standby':
      return standby;
  }
}
