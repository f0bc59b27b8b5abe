import type { Client } from 'pg';
import { NEXT_EPOCH, takeExclusiveFence } from '../postgres/fence.ts';
import {
  AwaitsStandby,
  awaitsStandby,
  COMMITS_LOCALLY,
  synchronousStandbys,
} from '../postgres/sync-standby.ts';
import { microsOf, msOf } from '../postgres/time-sql.ts';
import { inTransaction } from '../postgres/transaction.ts';

/** How long a lease lasts without renewal; a standby touches nothing before it has expired. Spec P6. */
const LEASE = "interval '5 seconds'";
/**
 * Under the exclusive fence: ends all leadership, and whatever a running daemon has not committed is refused. It starts
 * over from the ledger at once, since its lease has ended.
 */
export const DEPOSE_SQL = `UPDATE ingest_state SET epoch = ${NEXT_EPOCH}, holder = NULL, lease_expires_at = clock_timestamp()`;

export type LeaseAttempt =
  | { kind: 'leader'; epoch: bigint; serverStarted: string }
  | { kind: 'standby'; holder: string; remainingMs: number }
  | { kind: 'other_chain'; chainId: string };

export interface LeaseRenewal {
  /** false: another daemon has raised the epoch */
  held: boolean;
  /** changes when the server restarted or a different one answers: the position must then be read again */
  serverStarted: string;
  /** the server's clock, µs since 1970 */
  nowMicros: bigint;
}

interface StateRow {
  chain_id: string;
  epoch: string;
  holder: string | null;
  remaining_ms: number | null;
}

/**
 * Leadership of a chain is a row with a lease on the database's clock. Taking it over:
 *
 *   read the row ──► the lease runs: standby, again when it is over
 *        │ expired
 *        ▼
 *   exclusive fence (waits for every batch of the old leader; terminates its backends if they do not finish)
 *        ▼
 *   epoch + 1, holder, expiry, in the same transaction ──► leader
 *
 * Every batch takes the same fence shared and compares the epoch afterwards, so a replaced writer commits nothing,
 * whatever its clock says.
 */
export async function tryLease(client: Client, chainId: string, holder: string): Promise<LeaseAttempt> {
  await client.query('INSERT INTO ingest_state (chain_id) VALUES ($1) ON CONFLICT DO NOTHING', [chainId]);
  const state = await readState(client);
  if (state.chain_id !== chainId) return { kind: 'other_chain', chainId: state.chain_id };
  if (state.remaining_ms !== null && state.remaining_ms > 0) {
    return { kind: 'standby', holder: state.holder ?? '', remainingMs: state.remaining_ms };
  }
  return inTransaction(client, async () => {
    // an epoch that a failover loses is never given again (NEXT_EPOCH)
    await client.query(`SELECT ${COMMITS_LOCALLY}`);
    await takeFence(client);
    const sql = `UPDATE ingest_state SET epoch = ${NEXT_EPOCH}, holder = $1, holder_since = clock_timestamp(),
        lease_expires_at = clock_timestamp() + ${LEASE}
      WHERE epoch = $2 AND (lease_expires_at IS NULL OR lease_expires_at <= clock_timestamp()) RETURNING epoch, pg_postmaster_start_time()::text AS started`;
    const { rows } = await client.query<{ epoch: string; started: string }>(sql, [holder, state.epoch]);
    const won = rows[0];
    if (won === undefined) return { kind: 'standby', holder: state.holder ?? '', remainingMs: 1000 };
    return { kind: 'leader', epoch: BigInt(won.epoch), serverStarted: won.started };
  });
}

/**
 * Call it every second on a dedicated connection. While a synchronous standby is away the lease is kept all the same: a
 * failover may lose it, and then its holder takes it again.
 */
export async function renewLease(client: Client, holder: string, epoch: bigint): Promise<LeaseRenewal> {
  const sql = `WITH renewed AS (
      UPDATE ingest_state SET lease_expires_at = clock_timestamp() + ${LEASE} WHERE epoch = $1 AND holder = $2 RETURNING 1
    ) SELECT count(*) AS held, pg_postmaster_start_time()::text AS started,
        ${microsOf('clock_timestamp()')} AS now, ${COMMITS_LOCALLY} FROM renewed`;
  const { rows } = await client.query<{ held: string; started: string; now: string }>(sql, [
    epoch.toString(),
    holder,
  ]);
  const [{ held, started, now }] = rows; // always one row
  return { held: held === '1', serverStarted: started, nowMicros: BigInt(now) };
}

/** A clean shutdown: the next daemon need not wait for the lease to expire. */
export async function releaseLease(client: Client, holder: string, epoch: bigint): Promise<void> {
  await client.query(
    `WITH released AS (
       UPDATE ingest_state SET lease_expires_at = clock_timestamp() WHERE epoch = $1 AND holder = $2 RETURNING 1)
     SELECT ${COMMITS_LOCALLY} FROM released`,
    [epoch.toString(), holder],
  );
}

/**
 * Terminates a backend whose connection was dropped. Until it is gone, its transaction may still commit, so nothing of that
 * batch may be sent again. One whose COMMIT waits for a synchronous standby is left alone.
 */
export async function endBackend(
  client: Client,
  backend: { pid: number; started: string },
): Promise<'gone' | 'ending' | AwaitsStandby> {
  const { rows } = await client.query<{ awaits: boolean }>(
    `SELECT ${awaitsStandby('a')} AS awaits, CASE WHEN NOT (${awaitsStandby('a')}) THEN pg_terminate_backend(pid) END
       FROM pg_stat_activity a WHERE pid = $1 AND backend_start = $2`,
    [backend.pid, backend.started],
  );
  if (rows.length === 0) return 'gone';
  return rows[0].awaits ? new AwaitsStandby(await synchronousStandbys(client)) : 'ending';
}

/** The backend of a connection; `started` distinguishes it from a later one with the same pid. */
export async function ownBackend(client: Client): Promise<{ pid: number; started: string }> {
  const { rows } = await client.query<{ pid: number; started: string }>(
    'SELECT pid, backend_start::text AS started FROM pg_stat_activity WHERE pid = pg_backend_pid()',
  );
  const row = rows[0];
  if (row === undefined) throw new Error('the server does not list the own backend');
  return row;
}

async function readState(client: Client): Promise<StateRow> {
  const { rows } = await client.query<StateRow>(
    `SELECT chain_id, epoch, holder,
       ${msOf('lease_expires_at - clock_timestamp()')} AS remaining_ms FROM ingest_state`,
  );
  const row = rows[0];
  if (row === undefined) throw new Error('ingest_state is empty although it was just filled');
  return row;
}

/** Waits for the batches of the old leader, and terminates those that hang. */
export async function takeFence(client: Client): Promise<void> {
  await takeExclusiveFence(client, { first: 'ingest_fence_key()', second: 1 });
}
