import type { Broker, Connection, ConnectionPool } from '@platformatic/kafka';
import { atMost } from '../../core/wait.ts';

/** after this many failures in a row the connections are replaced, whatever state they claim to be in */
const RENEW_AFTER = 4;
/** connections that do not close within this time are left to themselves, ms */
const CLOSE_MS = 2000;

/**
 * The connections that a pool of the client made. The pool itself forgets one when the one that it replaced closes later than it was
 * made, and closes only those that it knows; a forgotten one would keep this process alive until the broker drops it.
 */
export class MadeConnections {
  readonly #pool: ConnectionPool;
  readonly #open = new Set<Connection>();

  constructor(pool: ConnectionPool) {
    this.#pool = pool;
    pool.on('connecting', ({ connection }) => {
      this.#open.add(connection);
      connection.once('close', () => this.#open.delete(connection));
      // every failure also reaches its request; without a listener the event would end the process
      connection.on('error', () => {
        if (connection.socket.destroyed) this.#open.delete(connection);
      });
    });
  }

  /** @param closed resolves when the pool, or its owner, has closed what it knows; waited for CLOSE_MS at most */
  async close(closed: Promise<unknown> = this.#pool.close()): Promise<void> {
    await atMost(closed, CLOSE_MS);
    for (const { socket } of this.#open) socket.destroy();
    this.#open.clear();
  }
}

/**
 * Connections to the brokers for one purpose. Kafka answers the requests of a connection one after another, so whatever
 * waits (a fetch, a join) has connections of its own.
 */
export class BrokerConnections {
  /** of one request, ms */
  readonly requestTimeoutMs: number;
  readonly #make: () => ConnectionPool;
  #pool: ConnectionPool;
  #made: MadeConnections;
  #failures = 0;
  #closed = false;

  constructor(make: () => ConnectionPool, requestTimeoutMs: number) {
    this.#make = make;
    this.requestTimeoutMs = requestTimeoutMs;
    this.#pool = make();
    this.#made = new MadeConnections(this.#pool);
  }

  to(broker: Broker): Promise<Connection> {
    return this.#pool.get(broker);
  }

  succeeded(): void {
    this.#failures = 0;
  }

  failed(): void {
    this.#failures += 1;
    if (this.#failures % RENEW_AFTER === 0) this.renew();
  }

  renew(): void {
    if (this.#closed) return;
    const old = this.#made;
    this.#pool = this.#make();
    this.#made = new MadeConnections(this.#pool);
    void old.close();
  }

  /** Takes CLOSE_MS at most, also when a broker is frozen. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#made.close();
  }
}
