import { DatabaseError } from 'pg';
import { busVerdict } from '../../core/retry.ts';
import { ConnectError, connectFailureKind } from '../../store/postgres/connect.ts';
import { BusError } from '../bus.ts';

/** undefined table, column, function, schema: the schema is not that of this program */
const BEHIND_CODES = new Set(['42P01', '42703', '42883', '3F000']);

/** The error of a call to the database as a BusError. */
export function busError(error: unknown): BusError {
  if (error instanceof BusError) return error;
  const said = error instanceof Error ? error.message : String(error);
  if (error instanceof ConnectError) {
    // connectFailureKind counts too many connections, starting up and the like as unreachable
    const kind = connectFailureKind(error) === 'unreachable' ? 'unreachable' : 'setup';
    return new BusError(kind, `postgres bus: ${said}`, error);
  }
  if (!(error instanceof DatabaseError)) return new BusError('unreachable', `postgres bus: ${said}`, error);
  const hint =
    error.code !== undefined && BEHIND_CODES.has(error.code)
      ? ': the schema of this database is behind, run mdp db migrate'
      : '';
  return new BusError(
    busVerdict(error.code),
    `postgres bus: ${said}${error.code === undefined ? '' : ` (${error.code})`}${hint}`,
    error,
  );
}
