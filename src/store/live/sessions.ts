import type { Client } from 'pg';
import { connectDurable, Session, type RunOnSession } from '../postgres/session.ts';

/** a page of ticks takes well below a second; above the server's own limit for a statement */
const ANSWER_MS_MAX = 30_000;
/** of the history: so many pages are read at a time, whatever the number of clients */
const READERS_MAX = 4;

export interface LiveSessionsOptions {
  /** of the primary: what was acknowledged on the bus must be visible */
  dbUri: string;
  /** shown in pg_stat_activity */
  applicationName: string;
}

/** Connections of the live path: one for its hubs, some for what clients read of the past. */
export class LiveSessions {
  readonly #readers: Session[];
  readonly #hub: Session;
  #turn = 0;

  constructor({ dbUri, applicationName }: LiveSessionsOptions) {
    const open = (purpose: string): Session =>
      new Session(() => connectDurable(dbUri, `${applicationName} ${purpose}`), ANSWER_MS_MAX);
    this.#hub = open('live');
    this.#readers = Array.from({ length: READERS_MAX }, (_, at) => open(`live history ${at}`));
  }

  /** For short questions that everything waits for. */
  readonly hub: RunOnSession = (work) => this.#hub.run(work);

  /** For what one client reads; each of the sessions serves one call after the other. */
  readonly reader: RunOnSession = <T>(work: (client: Client) => Promise<T>): Promise<T> => {
    this.#turn = (this.#turn + 1) % this.#readers.length;
    return this.#readers[this.#turn].run(work);
  };

  async close(): Promise<void> {
    await Promise.all([this.#hub, ...this.#readers].map((session) => session.close()));
  }
}
