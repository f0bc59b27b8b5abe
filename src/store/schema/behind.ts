import { DatabaseError, type Client } from 'pg';

/** What an operator does about it. */
export const SCHEMA_REMEDY = 'Run "mdp db migrate" (or psql -f)';

/** The schema lacks files that a program needs; the message names them and the command that applies them. */
export class SchemaBehind extends Error {
  override name = 'SchemaBehind';

  constructor(files: readonly string[]) {
    const are = files.length === 1 ? 'is' : 'are';
    super(
      `The schema is behind: ${files.join(', ')} ${are} not applied. ${SCHEMA_REMEDY}, or set DB_MIGRATE=auto`,
    );
  }
}

/** No schema for the tables: search_path is empty, or names only what does not exist or what the role may not use. */
export class NoSchema extends SchemaBehind {
  override name = 'NoSchema';

  /** @param searchPath as the server shows it */
  constructor(searchPath: string) {
    super([]);
    this.message =
      `search_path (${searchPath}) names no schema of this database that the role may use: ` +
      'create it (create schema chain), or name another one (options=-csearch_path%3Dchain in the database URL)';
  }
}

/** undefined table, column, function, schema, type; no constraint that ON CONFLICT names */
const BEHIND_CODES = new Set(['42P01', '42703', '42883', '3F000', '42704', '42P10']);

/** Whether it says that the schema is not that of this program, by the server's code or as found by looking. */
export function isSchemaBehind(error: unknown): boolean {
  if (error instanceof SchemaBehind) return true;
  if (error instanceof DatabaseError) return error.code !== undefined && BEHIND_CODES.has(error.code);
  // an error of the bus that is in the database, for one, has the server's as its cause
  return error instanceof Error && error.cause !== undefined && isSchemaBehind(error.cause);
}

/** In place of an error of a schema that is behind: that there is no schema at all, where this is the reason. */
export async function withReason(client: Client, error: unknown): Promise<unknown> {
  if (error instanceof SchemaBehind || !isSchemaBehind(error)) return error;
  return await findSchema(client).then(
    () => error,
    (found: unknown) => (found instanceof NoSchema ? found : error),
  );
}

/** The schema in which the connection creates objects. @throws NoSchema */
export async function findSchema(client: Client): Promise<string> {
  const { rows } = await client.query<{ schema: string | null; path: string }>(
    "SELECT current_schema() AS schema, current_setting('search_path') AS path",
  );
  const found = rows[0];
  if (found?.schema == null) throw new NoSchema(found?.path ?? '');
  return found.schema;
}
