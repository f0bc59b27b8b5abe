import type { Client } from 'pg';
import { deadline } from '../../core/wait.ts';
import { connect } from './connect.ts';
import { parseDatabaseUrl } from './database-url.ts';

/** The session was closed before or during the call. */
export class SessionClosedError extends Error {
  override name = 'SessionClosedError';
}

/** ms; reading a whole batch of large records takes a few seconds at most */
const STATEMENT_MS = 20_000;

/** A connection for short statements. Its commits are durable, like those of every session. Rejects with ConnectError. */
export function connectDurable(databaseUrl: string, applicationName: string): Promise<Client> {
  return connect(parseDatabaseUrl(databaseUrl), { applicationName, statementTimeoutMs: STATEMENT_MS });
}

/** Drops a connection without sending Terminate: the server may be gone, and pg has no public way to skip it. */
export function destroy(client: Client): void {
  (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
}

/** Rejects when the database takes longer than `ms`; the work itself is not cancelled, so its connection must be dropped. */
export function answerWithin<T>(work: Promise<T>, ms: number): Promise<T> {
  return deadline(work, ms, () => new Error(`no answer from the database for ${ms} ms`));
}

/** How long close waits for the server's answer. */
const CLOSE_MS = 2000;

const ignore = (): void => {};

/** Same as Session.run: given to the parts of the store that share a session. */
export type RunOnSession = <T>(work: (client: Client) => Promise<T>) => Promise<T>;

interface Attempt {
  client: Client | null;
  /** its caller has been answered */
  isOver: boolean;
}

/**
 * One connection, opened when first needed and reopened by the call after one that failed: after an error the state of
 * a connection is unknown. Calls run one at a time, in the order they arrived.
 */
export class Session {
  readonly #connect: () => Promise<Client>;
  /** maximum duration of a call, connecting included, ms */
  readonly #answerMs: number;
  #client: Client | null = null;
  #last: Promise<unknown> = Promise.resolve();
  #closed: Promise<void> | null = null;
  /** rejects the call in flight */
  #endCall: ((error: Error) => void) | null = null;

  constructor(connect: () => Promise<Client>, answerMs: number) {
    this.#connect = connect;
    this.#answerMs = answerMs;
  }

  /** Rejects with what `work` rejects with, ConnectError, a deadline's Error, or SessionClosedError. */
  run<T>(work: (client: Client) => Promise<T>): Promise<T> {
    const turn = this.#last.then(() => this.#run(work));
    // only the fact that it ended: the result is the caller's, and nothing here keeps it until the next call
    this.#last = turn.then(ignore, ignore);
    return turn;
  }

  /** Calls in flight fail. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #run<T>(work: (client: Client) => Promise<T>): Promise<T> {
    if (this.#closed !== null) throw new SessionClosedError('the session is closed');
    const attempt: Attempt = { client: null, isOver: false };
    const call = async (): Promise<T> => work(await this.#open(attempt));
    // a promise of this call alone: one that lives as long as the session would retain the result of every call that
    // was raced against it
    const ended = Promise.withResolvers<never>();
    this.#endCall = ended.reject;
    try {
      return await answerWithin(Promise.race([call(), ended.promise]), this.#answerMs);
    } catch (error) {
      this.#drop(attempt.client);
      throw error;
    } finally {
      this.#endCall = null;
      attempt.isOver = true;
    }
  }

  async #open(attempt: Attempt): Promise<Client> {
    if (this.#client === null) {
      const client = await this.#connect();
      if (attempt.isOver) {
        destroy(client);
        throw new Error('connected too late');
      }
      client.on('end', () => {
        if (this.#client === client) this.#client = null;
      });
      this.#client = client;
    }
    attempt.client = this.#client;
    return this.#client;
  }

  #drop(client: Client | null): void {
    if (client === null) return;
    if (this.#client === client) this.#client = null;
    destroy(client);
  }

  async #close(): Promise<void> {
    this.#endCall?.(new SessionClosedError('the session was closed'));
    await this.#last;
    const client = this.#client;
    this.#client = null;
    if (client !== null) await answerWithin(client.end(), CLOSE_MS).catch(() => destroy(client));
  }
}
