import type { Command } from 'commander';
import { DatabaseError, type Client } from 'pg';
import { connect, ConnectError, parseDatabaseUrl } from '../../store/postgres/connect.ts';
import { startEmbedded } from '../../store/embedded/server.ts';
import { isSchemaBehind, withReason } from '../../store/schema/behind.ts';
import { MigrationError } from '../../store/schema/migrate.ts';
import { EXIT_FAILED } from '../exit-codes.ts';
import { nameOf } from './arguments.ts';
import { printOf, type Print } from './text.ts';

/** @param serverUrl for further sessions on the same database, embedded or not */
export type DatabaseWork<T> = (client: Client, serverUrl: string) => Promise<T>;

/** DATABASE_URL is not set. */
export class NoDatabaseError extends Error {
  override name = 'NoDatabaseError';
}

/**
 * Runs `work` with one session on DATABASE_URL. `embedded:DIR` finds the running server of that folder, or starts one
 * for as long as the work takes.
 */
export function withDatabase<T>(
  databaseUrl: string | undefined,
  applicationName: string,
  work: DatabaseWork<T>,
): Promise<T> {
  return withServerUrl(databaseUrl, (serverUrl) => withSession(serverUrl, applicationName, work));
}

/** The same for work that opens its own sessions: it gets the server's URL. */
export async function withServerUrl<T>(
  databaseUrl: string | undefined,
  work: (serverUrl: string) => Promise<T>,
): Promise<T> {
  if (databaseUrl === undefined || databaseUrl === '') {
    throw new NoDatabaseError(
      'no database: set DATABASE_URL to postgres://user:password@host/database or to embedded:DIR',
    );
  }
  if (!databaseUrl.startsWith('embedded:')) return work(databaseUrl);
  const server = await startEmbedded({
    dataDir: databaseUrl.slice('embedded:'.length),
    log: { info: () => {}, warn: () => {} },
  });
  try {
    return await work(server.url());
  } finally {
    // a server that was already running belongs to a daemon
    if (!server.adopted) await server.stop();
  }
}

async function withSession<T>(url: string, applicationName: string, work: DatabaseWork<T>): Promise<T> {
  const client = await connect(parseDatabaseUrl(url), { applicationName });
  try {
    return await work(client, url);
  } catch (error) {
    throw await withReason(client, error);
  } finally {
    await client.end().catch(() => {});
  }
}

/** What a command does with its session; returns a one-line reason for failure, or null. */
export type CommandWork = (client: Client, print: Print) => Promise<string | null>;

/** Runs a command with one session on DATABASE_URL; a failure is one line on stderr and EXIT_FAILED. */
export async function runOnDatabase(
  command: Command,
  databaseUrl: string | undefined,
  applicationName: string,
  work: CommandWork,
): Promise<void> {
  let failure: string | null;
  try {
    failure = await withDatabase(databaseUrl, applicationName, (client) => work(client, printOf(command)));
  } catch (error) {
    failure = databaseFailure(error);
  }
  if (failure !== null) command.error(`${nameOf(command)}: ${failure}`, { exitCode: EXIT_FAILED });
}

/** One line: what happened, and what to do about it. */
export function databaseFailure(error: unknown): string {
  const said = oneLine(error instanceof Error ? error.message : String(error));
  if (error instanceof ConnectError) return `Failed to connect to database: ${said}. ${ADVICE[error.kind]}`;
  if (error instanceof MigrationError) return said;
  if (error instanceof DatabaseError) {
    if (error.code === '42501') return `${said}. Use the role that owns the schema in DATABASE_URL`;
    if (isSchemaBehind(error)) return `The schema is behind: ${said}. Run first: mdp db migrate`;
    return `${said} (${error.code ?? 'no SQLSTATE'})`;
  }
  return said;
}

const ADVICE = {
  password: 'Check user and password in DATABASE_URL, and pg_hba.conf of the server',
  database: 'Create the database (createdb), or correct its name in DATABASE_URL',
  tls: 'Check sslmode, sslrootcert, sslcert and sslkey in DATABASE_URL',
  unreachable: 'Check host and port in DATABASE_URL, and that the server runs',
} as const;

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}
