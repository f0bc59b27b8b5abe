import { DatabaseError } from 'pg';
import { busVerdict } from '../../core/retry.ts';
import { ConnectError, connectFailureKind } from '../../store/postgres/connect.ts';
import { isSchemaBehind, SCHEMA_REMEDY } from '../../store/schema/behind.ts';
import { BusError } from '../bus.ts';

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
  const hint = isSchemaBehind(error) ? `: the schema is behind. ${SCHEMA_REMEDY}` : '';
  return new BusError(
    busVerdict(error.code),
    `postgres bus: ${said}${error.code === undefined ? '' : ` (${error.code})`}${hint}`,
    error,
  );
}
