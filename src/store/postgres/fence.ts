import type { Client } from 'pg';
import { AwaitsStandby, awaitsStandby, synchronousStandbys } from './sync-standby.ts';
import { microsOf } from './time-sql.ts';

/** How long a takeover waits for the transactions of its predecessor before it terminates their backends. */
const FENCE_WAIT = '1s';

/**
 * Never the same epoch twice, even if a failover lost the last takeover: the clock in it distinguishes two leaders to
 * which a counter would give the same number.
 */
export const NEXT_EPOCH = `greatest(epoch + 1, ${microsOf('clock_timestamp()')})`;

const AWAITS = `(${awaitsStandby('a')})`;

/** The two keys of an advisory lock that transactions hold shared as long as they may commit. */
export interface FenceKeys {
  /** SQL of an int; a constant of the program */
  first: string;
  second: number;
}

/**
 * Takes a fence exclusively until the end of the open transaction. A holder that hangs (frozen client, black-holed
 * network, a backend stalled in COPY, which no server timeout ends) is terminated; the lock is free as soon as its
 * backend is gone. Rejects with AwaitsStandby when a holder's COMMIT waits for a synchronous standby.
 */
export async function takeExclusiveFence(client: Client, { first, second }: FenceKeys): Promise<void> {
  const lock = `SELECT pg_advisory_xact_lock(${first}, ${second})`;
  await client.query(`SET LOCAL lock_timeout = '${FENCE_WAIT}'`);
  await client.query('SAVEPOINT fence');
  try {
    await client.query(lock);
  } catch (error) {
    if ((error as { code?: string }).code !== '55P03') throw error;
    await client.query('ROLLBACK TO SAVEPOINT fence');
    const { rows } = await client.query<{ awaits: boolean }>(
      `SELECT ${AWAITS} AS awaits, CASE WHEN NOT ${AWAITS} THEN pg_terminate_backend(l.pid) END
         FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
       WHERE locktype = 'advisory' AND granted AND l.pid <> pg_backend_pid() AND objsubid = 2
         AND objid = (${second}::int::bit(32)::bigint)::oid AND classid = (${first}::bit(32)::bigint)::oid
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
    );
    if (rows.some(({ awaits }) => awaits)) throw new AwaitsStandby(await synchronousStandbys(client));
    await client.query(lock);
  }
  await client.query("SET LOCAL lock_timeout = '0'");
}
