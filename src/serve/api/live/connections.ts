import { ApiError } from '../errors.ts';

/** A connection that stays open. */
export interface LongConnection {
  /** who it is counted for */
  name: string;
  /** false: its credential was revoked, or has expired */
  isValid: () => boolean;
  /** every HEARTBEAT_MS */
  beat: () => void;
  /** @param reason for the client, in a few words */
  end: (reason: string) => void;
}

export interface ConnectionLimits {
  /** of one token, or of all without one */
  perTokenMax: number;
  totalMax: number;
}

export const CONNECTION_LIMITS: ConnectionLimits = { perTokenMax: 250, totalMax: 500 };
/** Proxies end what is silent for a minute; a credential that was revoked is found as often. */
const HEARTBEAT_MS = 15_000;

/** The connections of the live path: counted, kept alive, and ended with their credentials. */
export class LongConnections {
  readonly #limits: ConnectionLimits;
  readonly #open = new Set<LongConnection>();
  readonly #timer: NodeJS.Timeout;

  constructor(limits: ConnectionLimits = CONNECTION_LIMITS, heartbeatMs = HEARTBEAT_MS) {
    this.#limits = limits;
    this.#timer = setInterval(() => this.#beat(), heartbeatMs).unref();
  }

  get size(): number {
    return this.#open.size;
  }

  /** @throws ApiError too_many_requests */
  admit(name: string): void {
    const { perTokenMax, totalMax } = this.#limits;
    if (this.#open.size >= totalMax) throw refusal(`${totalMax} connections are open`);
    let own = 0;
    for (const connection of this.#open) if (connection.name === name) own += 1;
    if (own >= perTokenMax) throw refusal(`${perTokenMax} connections of this credential are open`);
  }

  add(connection: LongConnection): void {
    this.#open.add(connection);
  }

  remove(connection: LongConnection): void {
    this.#open.delete(connection);
  }

  close(): void {
    clearInterval(this.#timer);
    for (const connection of this.#open) connection.end('the server ends');
    this.#open.clear();
  }

  #beat(): void {
    for (const connection of this.#open) {
      if (connection.isValid()) connection.beat();
      else connection.end('the credential is not valid any more');
    }
  }
}

function refusal(message: string): ApiError {
  return new ApiError('too_many_requests', `${message}: close some`, { retryAfterSeconds: 5 });
}
