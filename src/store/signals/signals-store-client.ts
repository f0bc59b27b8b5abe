import { connectDurable, Session } from '../postgres/session.ts';
import {
  querySignals,
  upsertSignals,
  type SignalQuery,
  type StoredSignal,
  type UpsertSignal,
} from './upsert.ts';

export interface SignalsStoreClientOptions {
  /** postgres://user:password@host/database */
  dbUri: string;
  /** shown in pg_stat_activity */
  applicationName?: string;
}

/** After this long without an answer the connection is dropped, and the request may be repeated. */
const ANSWER_MS_MAX = 30_000;

/** The table of signals for programs of one's own: upsert and query, no SQL. */
export class SignalsStoreClient {
  readonly #session: Session;

  constructor({ dbUri, applicationName = 'signals-store-client' }: SignalsStoreClientOptions) {
    this.#session = new Session(() => connectDurable(dbUri, applicationName), ANSWER_MS_MAX);
  }

  /** Connects. Rejects with ConnectError: its kind says whether waiting helps. */
  async aopen(): Promise<void> {
    await this.#session.run(() => Promise.resolve());
  }

  /**
   * Inserts new signals and replaces those of the same provider, symbol, time, name and run that differ, in one transaction; returns
   * how many rows that changed. Rejects with the server's error, and with RangeError for a value that no column can hold; the same
   * signals may be passed again at any time.
   */
  upsertSignals(signals: readonly UpsertSignal[]): Promise<number> {
    return this.#session.run((client) => upsertSignals(client, signals));
  }

  /** The newest first. Rejects with the server's error; RangeError for a limit that is none. */
  querySignals(query: SignalQuery = {}): Promise<StoredSignal[]> {
    return this.#session.run((client) => querySignals(client, query));
  }

  async aclose(): Promise<void> {
    await this.#session.close();
  }
}
