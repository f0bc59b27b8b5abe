import type { Client } from 'pg';
import { CopyTooLargeError } from '../../store/postgres/copy-out.ts';
import { readFailure, type ReadPool } from '../../store/queries/read-pool.ts';
import { ApiError } from './errors.ts';

/** The pool, with failures as the API tells them. */
export class Reading {
  readonly #pool: ReadPool;

  constructor(pool: ReadPool) {
    this.#pool = pool;
  }

  /** Rejects with ApiError unavailable, and with whatever is a mistake of ours. */
  run<T>(read: (client: Client) => Promise<T>): Promise<T> {
    return this.#pool.run(read).catch((error: unknown) => {
      throw toldOf(error);
    });
  }

  /** Throws the same. */
  async *stream<T>(read: (client: Client) => AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
    try {
      yield* this.#pool.stream(read);
    } catch (error) {
      throw toldOf(error);
    }
  }
}

/** A failed read as the API tells it; what is a mistake of ours stays as it is. */
export function toldOf(error: unknown): unknown {
  if (error instanceof CopyTooLargeError)
    return new ApiError('bad_request', 'the page is too large: ask for fewer rows', { cause: error });
  switch (readFailure(error)) {
    case 'busy':
      return new ApiError('unavailable', 'too many queries at once', { retryAfterSeconds: 1, cause: error });
    case 'unavailable':
      return new ApiError('unavailable', 'the database does not answer', {
        retryAfterSeconds: 2,
        cause: error,
      });
    case 'timeout':
      return new ApiError('unavailable', 'the query took too long: ask for less', {
        retryAfterSeconds: 5,
        cause: error,
      });
    case null:
      return error;
  }
}
