import type { Client } from 'pg';
import { connect, ConnectError, parseDatabaseUrl } from '../postgres/connect.ts';
import { isPooled } from '../postgres/pooler.ts';
import { Session, SessionClosedError } from '../postgres/session.ts';
import { sqlstateOf } from '../postgres/sqlstate.ts';

export interface ReadPoolOptions {
  /** READ_DATABASE_URL, or DATABASE_URL */
  databaseUrl: string;
  /** shown in pg_stat_activity. Default: api reads */
  applicationName?: string;
  /** sessions for short queries at once. Default 4 */
  sessionsMax?: number;
  /** sessions for results that are streamed, at once. Default 2 */
  streamsMax?: number;
  /** calls of one kind that wait for a session; the next one is refused. Default 200 */
  waitingMax?: number;
  /** how long one waits. Default 5 s */
  waitMsMax?: number;
  /** of a short query, by the server. Default 10 s */
  statementMsMax?: number;
  /** of a whole stream. Default 15 min: its snapshot holds back vacuum */
  streamMsMax?: number;
  /** a stream whose next rows nobody takes for so long is ended. Default 60 s */
  stallMsMax?: number;
}

/** All sessions are taken, and too many wait already, or this one has waited too long. */
export class BusyError extends Error {
  override name = 'BusyError';
}

/** The rows of a stream were not taken in time. */
export class StalledError extends Error {
  override name = 'StalledError';
}

/** Why a read failed that may be repeated; null: a mistake of the program, or of the schema. */
export type ReadFailure =
  /** too many at once */
  | 'busy'
  /** no database, or it went away */
  | 'unavailable'
  /** the query took too long */
  | 'timeout';

export function readFailure(error: unknown): ReadFailure | null {
  if (error instanceof BusyError) return 'busy';
  if (error instanceof ConnectError || error instanceof SessionClosedError) return 'unavailable';
  if (error instanceof StalledError) return 'timeout';
  const sqlstate = sqlstateOf(error);
  // query_canceled, transaction_timeout; 40001 and 40P01: what a standby answers when it replays what the query reads
  if (sqlstate === '57014' || sqlstate === '25P04') return 'timeout';
  if (sqlstate === undefined) return isOfConnection(error) ? 'unavailable' : null;
  return /^(?:08|53|57|40|58)/.test(sqlstate) ? 'unavailable' : null;
}

/** pg's own words have no code: what is neither the server's nor a mistake of ours (TypeError, RangeError) is the connection's. */
function isOfConnection(error: unknown): boolean {
  return error instanceof Error && (error.constructor === Error || 'code' in error);
}

/** Above the statement's own limit: then the server does not answer at all. */
const ANSWER_MS_MORE = 5000;

/**
 * Sessions that only read. A few for short queries, others for results that are streamed, so that slow downloads keep no
 * query waiting. Each is opened when it is needed, and again after a failure; a query on a connection that turns out to be
 * lost is asked once more.
 */
export class ReadPool {
  readonly #queries: Sessions;
  readonly #streams: Sessions;
  readonly #stallMsMax: number;

  constructor(options: ReadPoolOptions) {
    const { databaseUrl, applicationName = 'api reads', statementMsMax = 10_000 } = options;
    const { streamMsMax = 15 * 60_000, waitingMax = 200, waitMsMax = 5000 } = options;
    const open = (purpose: string, statementTimeoutMs: number) => (): Promise<Client> =>
      connectReadOnly(databaseUrl, `${applicationName} ${purpose}`, statementTimeoutMs);
    const waiting = { waitingMax, waitMsMax };
    this.#queries = new Sessions(
      Array.from(
        { length: options.sessionsMax ?? 4 },
        () => new Session(open('queries', statementMsMax), statementMsMax + ANSWER_MS_MORE),
      ),
      waiting,
    );
    this.#streams = new Sessions(
      Array.from(
        { length: options.streamsMax ?? 2 },
        () => new Session(open('streams', streamMsMax), streamMsMax + ANSWER_MS_MORE),
      ),
      waiting,
    );
    this.#stallMsMax = options.stallMsMax ?? 60_000;
  }

  /** Rejects with what `read` rejects with, BusyError, ConnectError or SessionClosedError: see readFailure(). */
  async run<T>(read: (client: Client) => Promise<T>): Promise<T> {
    const session = await this.#queries.take();
    try {
      return await session.run(read).catch((error: unknown) => {
        if (!isLost(error)) throw error;
        return session.run(read);
      });
    } finally {
      this.#queries.giveBack(session);
    }
  }

  /**
   * What `read` yields, on a session of its own until the end. Whoever stops early frees it by return(), as `for await` does.
   * Throws as run() rejects, and StalledError.
   */
  async *stream<T>(read: (client: Client) => AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
    const session = await this.#streams.take();
    const opened = Promise.withResolvers<Client>();
    const ended = Promise.withResolvers<void>();
    const running = session.run(async (client) => {
      opened.resolve(client);
      await ended.promise;
    });
    // whatever ends it: a reader that never comes back included
    running
      .catch((error: unknown) => opened.reject(error))
      .finally(() => this.#streams.giveBack(session))
      .catch(() => {});
    let isComplete = false;
    try {
      const client = await opened.promise;
      for await (const each of read(client)) {
        const stalled = setTimeout(
          () => ended.reject(new StalledError(`no rows were taken for ${this.#stallMsMax} ms`)),
          this.#stallMsMax,
        );
        try {
          yield each;
        } finally {
          clearTimeout(stalled);
        }
      }
      isComplete = true;
    } catch (error) {
      ended.reject(error);
      // why the session was ended, rather than that its connection is gone
      await running.catch((reason: unknown) => {
        throw reason;
      });
    } finally {
      if (isComplete) ended.resolve();
      else ended.reject(new Error('the reader stopped'));
      await running.catch(() => {});
    }
  }

  /** Calls in flight fail. Idempotent. */
  async close(): Promise<void> {
    await Promise.all([this.#queries.close(), this.#streams.close()]);
  }
}

/** The server went away between two queries, or with this one: a second try finds another connection. */
function isLost(error: unknown): boolean {
  return (
    !(error instanceof BusyError || error instanceof ConnectError) && readFailure(error) === 'unavailable'
  );
}

async function connectReadOnly(
  databaseUrl: string,
  applicationName: string,
  statementTimeoutMs: number,
): Promise<Client> {
  const client = await connect(parseDatabaseUrl(databaseUrl), { applicationName, statementTimeoutMs });
  // Without statistics the planner may prefer to read whole tables for a few rows. A pooler's session is not ours to set.
  if (!isPooled(client)) {
    await client.query(
      'SET default_transaction_read_only = on; SET enable_seqscan = off; SET max_parallel_workers_per_gather = 0',
    );
  }
  return client;
}

interface Waiter {
  resolve: (session: Session) => void;
  reject: (error: Error) => void;
  timer: NodeJS.Timeout;
}

/** Idle sessions, the last used first, and a queue of those who wait for one. */
class Sessions {
  readonly #all: readonly Session[];
  readonly #idle: Session[];
  readonly #waiting: Waiter[] = [];
  readonly #waitingMax: number;
  readonly #waitMsMax: number;

  constructor(
    sessions: readonly Session[],
    { waitingMax, waitMsMax }: { waitingMax: number; waitMsMax: number },
  ) {
    this.#all = sessions;
    this.#idle = [...sessions];
    this.#waitingMax = waitingMax;
    this.#waitMsMax = waitMsMax;
  }

  take(): Promise<Session> {
    const session = this.#idle.pop();
    if (session !== undefined) return Promise.resolve(session);
    if (this.#waiting.length >= this.#waitingMax)
      return Promise.reject(new BusyError(`${this.#waiting.length} reads wait already`));
    return new Promise((resolve, reject) => {
      const late = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        reject(new BusyError(`no session was free for ${this.#waitMsMax} ms`));
      };
      const waiter: Waiter = { resolve, reject, timer: setTimeout(late, this.#waitMsMax) };
      this.#waiting.push(waiter);
    });
  }

  giveBack(session: Session): void {
    const next = this.#waiting.shift();
    if (next === undefined) {
      this.#idle.push(session);
      return;
    }
    clearTimeout(next.timer);
    next.resolve(session);
  }

  async close(): Promise<void> {
    for (const { reject, timer } of this.#waiting.splice(0)) {
      clearTimeout(timer);
      reject(new SessionClosedError('the pool was closed'));
    }
    await Promise.all(this.#all.map((session) => session.close()));
  }
}
