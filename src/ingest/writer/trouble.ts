import type { LogLevel } from '../../core/env.ts';
import { isTooMuch, storeVerdict } from '../../core/retry.ts';
import { BatchError } from '../../store/postgres/pipelined-copy.ts';
import { AwaitsStandby } from '../../store/postgres/sync-standby.ts';
import { sqlstateOf } from '../../store/postgres/sqlstate.ts';

/** Why a writer does not get on. */
export interface DatabaseTrouble {
  /**
   * unconnected: this writer gets no connection and has no batch; the others may. slow: the server is there and did not answer
   * in time; standby: a COMMIT waits for its synchronous standby; refuses: it answered with an error; schema: one that a
   * migration mends
   */
  kind: 'unreachable' | 'unconnected' | 'slow' | 'standby' | 'refuses' | 'schema';
  error: string;
  sqlstate: string | undefined;
}

/** The connection ended or was silent while a batch was in flight: whether it was committed is unknown. */
export class NoAnswer extends Error {}

/** The same, of a connection that is still there. */
export class LateAnswer extends NoAnswer {}

/** Whether a smaller batch may pass where this one did not. */
export function isTooMuchAtOnce(error: unknown): boolean {
  return error instanceof LateAnswer || (error instanceof BatchError && isTooMuch(error.code));
}

/** Connection exceptions, and a server that shuts down or starts up. */
const AWAY = /^(08|57P)/;

export function troubleOf(error: Error): DatabaseTrouble {
  const sqlstate = sqlstateOf(error);
  const { message } = error;
  if (error instanceof AwaitsStandby) return { kind: 'standby', error: message, sqlstate };
  if (error instanceof LateAnswer) return { kind: 'slow', error: message, sqlstate };
  if (storeVerdict(sqlstate) === 'schema') return { kind: 'schema', error: message, sqlstate };
  const isRefusal = error instanceof BatchError && !AWAY.test(sqlstate ?? '08');
  return { kind: isRefusal ? 'refuses' : 'unreachable', error: message, sqlstate };
}

export function troubleLine({ kind }: DatabaseTrouble): { level: LogLevel; message: string } {
  switch (kind) {
    case 'unreachable':
    case 'unconnected':
      return { level: 'warn', message: 'Failed to connect to database' };
    case 'slow':
      return { level: 'warn', message: 'The database is slow: no answer to a batch in time' };
    case 'standby':
      return {
        level: 'error',
        message: 'The database waits for a synchronous standby; nothing counts before',
      };
    case 'refuses':
    case 'schema':
      return { level: 'error', message: 'The database refuses a batch; it is kept and tried again' };
  }
}
