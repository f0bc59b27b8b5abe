/** An error as plain values: for a log line, and for the way to another thread, where an Error would lose its code. */
import { inspect } from 'node:util';

export interface SerializedError {
  type: string;
  message: string;
  /** SQLSTATE, gRPC status or errno name */
  code?: string | number;
  constraint?: string;
  cause?: string;
  stack?: string;
}

/** Of any value that was thrown, or of one that was serialized before. */
export function serializeError(error: unknown): SerializedError {
  if (isSerialized(error)) return error;
  if (!(error instanceof Error)) return { type: typeof error, message: textOf(error) };
  const serialized: SerializedError = { type: error.name, message: messageOf(error) };
  const code = 'code' in error ? error.code : undefined;
  if (typeof code === 'string' || typeof code === 'number') serialized.code = code;
  if ('constraint' in error && typeof error.constraint === 'string') serialized.constraint = error.constraint;
  if (error.cause !== undefined) serialized.cause = serializeError(error.cause).message;
  if (error.stack !== undefined) serialized.stack = error.stack;
  return serialized;
}

function isSerialized(value: unknown): value is SerializedError {
  if (typeof value !== 'object' || value === null || value instanceof Error) return false;
  return (
    'type' in value &&
    typeof value.type === 'string' &&
    'message' in value &&
    typeof value.message === 'string'
  );
}

function textOf(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value);
  return inspect(value, { depth: 2, breakLength: Infinity });
}

/** A refused connection to a name with several addresses has an empty message and its reasons inside. */
function messageOf(error: Error): string {
  if (error instanceof AggregateError && error.message === '') {
    return error.errors
      .map((inner: unknown) => (inner instanceof Error ? inner.message : textOf(inner)))
      .join('; ');
  }
  return error.message;
}
