import type { LogLevel } from '../core/env.ts';
import { isConfiguredLimit, storeVerdict } from '../core/retry.ts';
import { sqlstateOf } from '../store/postgres/sqlstate.ts';
import { isSchemaBehind, SCHEMA_REMEDY, SchemaBehind } from '../store/schema/behind.ts';

/** A log line about a call that is repeated. */
export interface Trouble {
  level: LogLevel;
  message: string;
}

export const BUS_TROUBLE: Trouble = { level: 'warn', message: 'The bus does not answer (will try again)' };

/** What is said of an error of the database after which a call is repeated: an answer is not called silence. */
export function databaseTrouble(error: unknown): Trouble {
  if (isSchemaBehind(error)) {
    const said = error instanceof SchemaBehind ? error.message : `The schema is behind. ${SCHEMA_REMEDY}`;
    return { level: 'error', message: `${said}; it goes on by itself then` };
  }
  if (isConfiguredLimit(sqlstateOf(error))) {
    const message =
      'The database reached a limit of its configuration (will try again, where it can with fewer rows)';
    return { level: 'warn', message };
  }
  const isRefusal = storeVerdict(sqlstateOf(error)) !== 'retry';
  return {
    level: 'warn',
    message: isRefusal
      ? 'The database refuses (will try again)'
      : 'The database does not answer (will try again)',
  };
}
