import type { Client } from 'pg';
import {
  expectedSettings,
  settingsOf,
  TRANSACTION_SETTINGS,
  type SettingsOfSession,
} from './session-settings.ts';

const pooled = new WeakSet<Client>();

/** The defaults of database or role mean something else than we rely on, and a pooler keeps us from setting them. */
export class PooledSettingsError extends Error {
  override name = 'PooledSettingsError';
}

/**
 * Notes whether a pooler stands between this new connection and its server: then the server process that answers is not
 * the one that the connection was greeted by. Whether it hands out sessions or single transactions (pgbouncer's pool_mode)
 * does not show, so nothing relies on the state of a session then: no prepared statement, no setting, no temporary table
 * and no lock outlives its transaction.
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

/** What begins a transaction that writes: statements see what others commit meanwhile. */
export function beginWriting(client: Client): string[] {
  const begin = 'BEGIN ISOLATION LEVEL READ COMMITTED';
  return isPooled(client) ? [begin, ...TRANSACTION_SETTINGS] : [begin];
}

/** Those that poolers keep apart for each client: pgbouncer sets them again on the server process that it gives to it. */
const KEPT_BY_POOLERS = `SET client_encoding = 'UTF8'; SET standard_conforming_strings = on; SET timezone = 'UTC'; SET datestyle = 'ISO, MDY'`;

/**
 * What pinSettings() is for a session of ours. Anything else that is set would go to whoever gets the server process next,
 * so the defaults themselves must be right. Rejects with PooledSettingsError.
 * @param openAnother a further connection to the same server, to find out what the pooler hands out
 * @returns false: it hands out sessions, and pinSettings() is of use
 */
export async function checkSettings(
  client: Client,
  session: SettingsOfSession,
  openAnother: () => Promise<Client>,
): Promise<boolean> {
  await client.query(KEPT_BY_POOLERS);
  const expected = expectedSettings(session);
  const { rows } = await client.query<{ name: string; value: string }>(
    'SELECT name, reset_val AS value FROM pg_settings WHERE name = ANY ($1)',
    [[...expected.keys()]],
  );
  const wrong = rows.filter(({ name, value }) => expected.get(name)?.isRight(value) === false);
  if (wrong.length === 0) return true;
  const other = await openAnother();
  try {
    if (!(await poolsTransactions(client, other))) return false;
  } finally {
    await other.end().catch(() => {});
  }
  const list = wrong.map(({ name, value }) => `${name} = ${value || "''"} (${expected.get(name)?.wanted})`);
  throw new PooledSettingsError(
    `a pooler of transactions stands before a database or role with defaults of its own: ${list.join(', ')}. Use session ` +
      `pooling (pool_mode = session)${settingsOf(session.serverOptions).size > 0 ? ' with ignore_startup_parameters = options' : ''}, or change them by ALTER ROLE or ALTER DATABASE`,
  );
}

/** Tries by a few turns of two connections whether a transaction of one is carried out by the other's server process. */
async function poolsTransactions(one: Client, other: Client): Promise<boolean> {
  for (let turn = 0; turn < 3; turn += 1) {
    // twice, as poolers give out either what was used last or what is idle for longest
    const before = [await pidOf(one), await pidOf(one)];
    await other.query('BEGIN');
    const held = await pidOf(other);
    const after = await pidOf(one);
    await other.query('COMMIT');
    if (before[0] !== before[1] || held === before[1] || after !== before[1]) return true;
  }
  return false;
}

async function pidOf(client: Client): Promise<number> {
  return (await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')).rows[0].pid;
}
