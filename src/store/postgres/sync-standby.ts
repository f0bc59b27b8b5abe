import type { Client } from 'pg';

/**
 * SQL of whether a session (pg_stat_activity, under this alias) waits for a synchronous standby. Its COMMIT is on the disk of
 * its server and nowhere else: ending the session makes the commit visible there although no standby has it, so such a
 * session is left alone.
 */
export function awaitsStandby(session: string): string {
  return `${session}.wait_event IS NOT DISTINCT FROM 'SyncRep'`;
}

/** A transaction cannot be ended: its COMMIT waits for a synchronous standby. */
export class AwaitsStandby extends Error {
  /** @param standbys synchronous_standby_names */
  constructor(standbys: string) {
    super(
      `a COMMIT waits for a synchronous standby (synchronous_standby_names = '${standbys}'): bring it back, or take it out of the setting`,
    );
  }
}

/** synchronous_standby_names; what only superusers may see of them is not in it. */
export async function synchronousStandbys(client: Client): Promise<string> {
  const { rows } = await client.query<{ names: string }>(
    "SELECT current_setting('synchronous_standby_names') AS names",
  );
  return rows[0].names; // always one row
}

/**
 * SQL: the transaction that it is part of commits without waiting for a standby. Only for what a failover may lose, such as
 * the renewal of a lease.
 */
export const COMMITS_LOCALLY = "set_config('synchronous_commit', 'local', true)";
