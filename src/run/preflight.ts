import type { Client } from 'pg';
import { SchemaBehind } from '../ingest/leader/leadership.ts';
import { detectEdition, serverConnections, type EditionInfo } from '../store/postgres/server-info.ts';
import { migrate, schemaStatus } from '../store/schema/migrate.ts';

export interface Preflight {
  edition: EditionInfo;
  /** connections that an ordinary role may open */
  serverConnections: number;
}

/** What the daemon must know of the database before it sizes its threads. */
export async function preflight(client: Client): Promise<Preflight> {
  return { edition: await detectEdition(client), serverConnections: await serverConnections(client) };
}

/** Resolves when the schema has what the stages need, applying it first when DB_MIGRATE=auto. */
export async function ensureSchema(
  client: Client,
  stages: readonly string[],
  mayMigrate: boolean,
): Promise<string[]> {
  const status = await schemaStatus(client);
  const behind = [...new Set(stages.flatMap((stage) => status.behindFor(stage)))];
  if (behind.length === 0) return [];
  if (mayMigrate) return migrate(client);
  throw new SchemaBehind(
    `The schema is behind: ${behind.join(', ')} ${behind.length === 1 ? 'is' : 'are'} not applied. Run "mdp db migrate" (or psql -f), or set DB_MIGRATE=auto; the daemon goes on by itself then`,
  );
}
