import type { Broker, Connection, ConnectionPool } from '@platformatic/kafka';
import { atMost } from '../../core/wait.ts';

/** failures one after another after which the connections are thrown away, whatever state they say they are in */
const RENEW_AFTER = 4;
const CLOSE_MS = 2000;

/**
 * Connections to the brokers for one purpose. Kafka answers the requests of a connection one after another, so whatever
 * waits (a fetch, a join) has connections of its own.
 */
export class BrokerConnections {
  /** of one request */
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

  /** A frozen broker does not hold it up for long. */
  async close(): Promise<void> {
    this.#closed = true;
    await atMost(this.#pool.close(), CLOSE_MS);
  }
}
