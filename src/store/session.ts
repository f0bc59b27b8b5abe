import type { Client } from 'pg';
import { connect, type SessionOptions } from './connect.ts';
import type { ConnectOptions } from './database-url.ts';
import { deadline, destroy } from './connection.ts';

/** How long a session may take to say good-bye. */
const END_MS = 2_000;

/**
 * One session that is opened when it is needed and opened anew after it was lost or dropped. Its users ask for the client
 * before each piece of work, and drop() it when an answer did not come or its state is unknown.
 */
export class Session {
  readonly #options: ConnectOptions;
  readonly #session: SessionOptions;
  readonly #prepare: (client: Client) => Promise<unknown>;
  #opening: Promise<Client> | null = null;
  #closed = false;

  /** @param prepare runs on every new connection before anybody is handed it */
  constructor(
    options: ConnectOptions,
    session: SessionOptions,
    prepare: (client: Client) => Promise<unknown> = () => Promise.resolve(),
  ) {
    this.#options = options;
    this.#session = session;
    this.#prepare = prepare;
  }

  /** Rejects with ConnectError; the next call tries again. */
  client(): Promise<Client> {
    if (this.#closed) return Promise.reject(new Error('the session is closed'));
    this.#opening ??= this.#open();
    return this.#opening;
  }

  /** Forgets the connection without a word to the server: its transaction, if any, is undone there. */
  drop(): void {
    const opening = this.#opening;
    this.#opening = null;
    opening?.then(destroy, () => {});
  }

  async close(): Promise<void> {
    this.#closed = true;
    const opening = this.#opening;
    this.#opening = null;
    const client = await opening?.catch(() => null);
    if (client == null) return;
    await deadline(client.end(), END_MS).catch(() => destroy(client));
  }

  #open(): Promise<Client> {
    const forget = (): void => {
      if (this.#opening === opening) this.#opening = null;
    };
    const onLost = (error: Error): void => {
      forget();
      this.#session.onLost?.(error);
    };
    const opening = connect(this.#options, { ...this.#session, onLost }).then(async (client) => {
      await this.#prepare(client);
      return client;
    });
    opening.catch(forget);
    return opening;
  }
}
