import type { Broker, Connection, ConnectionPool } from '@platformatic/kafka';
import { atMost } from '../../core/wait.ts';

/** after this many failures in a row the connections are replaced, whatever state they claim to be in */
const RENEW_AFTER = 4;
/** connections that do not close within this time are left to themselves, ms */
const CLOSE_MS = 2000;

/**
 * Connections to the brokers for one purpose. Kafka answers the requests of a connection one after another, so whatever
 * waits (a fetch, a join) has connections of its own.
 */
export class BrokerConnections {
  /** of one request, ms */
  readonly requestTimeoutMs: number;
  readonly #make: () => ConnectionPool;
  #pool: ConnectionPool;
  #failures = 0;
  #closed = false;

  constructor(make: () => ConnectionPool, requestTimeoutMs: number) {
    this.#make = make;
    this.requestTimeoutMs = requestTimeoutMs;
    this.#pool = make();
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
    const old = this.#pool;
    this.#pool = this.#make();
    void atMost(old.close(), CLOSE_MS);
  }

  /** Takes CLOSE_MS at most, also when a broker is frozen. */
  async close(): Promise<void> {
    this.#closed = true;
    await atMost(this.#pool.close(), CLOSE_MS);
  }
}
