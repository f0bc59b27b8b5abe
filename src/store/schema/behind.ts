import { DatabaseError } from 'pg';

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

/** undefined table, column, function, schema, type; no constraint that ON CONFLICT names */
const BEHIND_CODES = new Set(['42P01', '42703', '42883', '3F000', '42704', '42P10']);

/** Whether it says that the schema is not that of this program, by the server's code or as found by looking. */
export function isSchemaBehind(error: unknown): boolean {
  if (error instanceof SchemaBehind) return true;
  if (error instanceof DatabaseError) return error.code !== undefined && BEHIND_CODES.has(error.code);
  // an error of the bus that is in the database, for one, has the server's as its cause
  return error instanceof Error && error.cause !== undefined && isSchemaBehind(error.cause);
}
