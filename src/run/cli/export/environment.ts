import type { Clock } from '../../../core/time.ts';

export interface ExportEnvironment {
  /** READ_DATABASE_URL, or DATABASE_URL */
  databaseUrl?: string | undefined;
  /** DATABASE_URL, where runs are recorded; default the same as databaseUrl */
  jobsDatabaseUrl?: string | undefined;
  clock: Clock;
}
