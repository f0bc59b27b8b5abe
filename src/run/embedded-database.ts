import { setTimeout as delay } from 'node:timers/promises';
import { startEmbedded, type EmbeddedServer } from '../store/embedded/server.ts';
import type { Config } from './config/load.ts';
import type { Log } from './telemetry/log.ts';

/** Between two attempts to bring the server back, ms. */
const RESTART_MS = 2_000;

/** The database that the configuration names, for as long as the daemon runs. */
export interface Database {
  readonly url: string;
  /** stops the server if it is ours */
  stop(): Promise<void>;
}

/** Waits until an embedded server is up; an external one is not contacted yet. */
export async function openDatabase({ database }: Config, log: Log): Promise<Database> {
  if (database?.kind === 'embedded') return EmbeddedDatabase.start(database.dataDir, log);
  return { url: database?.url ?? '', stop: () => Promise.resolve() };
}

/** DATABASE_URL=embedded:DIR: our own PostgreSQL, restarted on the same port when it ends by itself. */
class EmbeddedDatabase implements Database {
  readonly #dataDir: string;
  readonly #log: Log;
  #server: EmbeddedServer;
  #stopping = false;

  static async start(dataDir: string, log: Log): Promise<EmbeddedDatabase> {
    return new EmbeddedDatabase(dataDir, log, await startEmbedded({ dataDir, log }));
  }

  private constructor(dataDir: string, log: Log, server: EmbeddedServer) {
    this.#dataDir = dataDir;
    this.#log = log;
    this.#server = server;
    void this.#keep();
  }

  get url(): string {
    return this.#server.url();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#server.stop();
  }

  async #keep(): Promise<void> {
    for (;;) {
      const how = await this.#server.exited;
      if (this.#stopping) return;
      this.#log.error({ how }, 'The embedded PostgreSQL ended; starting it again');
      await this.#restart(this.#server.port);
    }
  }

  async #restart(port: number): Promise<void> {
    while (!this.#stopping) {
      try {
        this.#server = await startEmbedded({ dataDir: this.#dataDir, port, log: this.#log });
        return;
      } catch (err) {
        this.#log.error({ err }, 'The embedded PostgreSQL does not start');
        await delay(RESTART_MS);
      }
    }
  }
}
