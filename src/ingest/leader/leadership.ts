import type { Client } from 'pg';
import type { Env } from '../../core/env.ts';
import { backoffMs, type BackoffLimits } from '../../core/retry.ts';
import { answerWithin, destroy } from '../../store/postgres/session.ts';
import { serverMicros } from '../../store/postgres/server-info.ts';
import { SchemaBehind } from '../../store/schema/behind.ts';
import { releaseLease, renewLease, tryLease } from '../../store/chain/lease.ts';
import { WakeableWait } from '../../core/wait.ts';

export interface LeadershipHost {
  connect(onLost: (error: Error) => void): Promise<Client>;
  /** Resolves when the schema is complete; rejects with what is missing. */
  checkSchema(client: Client): Promise<void>;
  /** This daemon may write now. Not awaited: the lease is renewed meanwhile. */
  lead(epoch: bigint): void;
  /** Another daemon took over: nothing may be written from here on. */
  follow(): Promise<void>;
  /** The server restarted, or a different one answers: it may have gone backwards. */
  serverChanged(): void;
  /** The database's clock, µs since 1970, asked for at askedMs (monotonic). */
  serverTime(micros: bigint, askedMs: number): void;
  state(state: LeadershipState): void;
}

export type LeadershipState =
  | { kind: 'connecting' }
  | { kind: 'unreachable'; error: Error }
  | { kind: 'schema'; error: string }
  | { kind: 'standby'; holder: string }
  | { kind: 'leading'; epoch: bigint };

export interface LeadershipLimits {
  backoff: BackoffLimits;
  /** between two renewals, ms; a fifth of the lease */
  renewMs: number;
  /** the connection is dropped when a renewal is not answered within this time, ms */
  answerMs: number;
}

/** Between two checks of an outdated schema, ms: once an operator has migrated it, the daemon continues by itself. */
const SCHEMA_POLL_MS = 2_000;
/** With DB_MIGRATE=auto this includes applying the schema. */
const SCHEMA_MS_MAX = 120_000;

/**
 * Keeps the lease of the chain on its own connection:
 *
 *   connecting ─► schema ─► standby ─► leading ─► (epoch raised by another) ─► standby …
 *
 * A leader that cannot reach the database still considers itself leader and keeps reading; the fence decides what it
 * may write.
 */
export class Leadership {
  readonly #chainId: string;
  readonly #holder: string;
  readonly #limits: LeadershipLimits;
  readonly #host: LeadershipHost;
  readonly #env: Env;
  #client: Client | null = null;
  #epoch: bigint | null = null;
  #stopped = false;
  readonly #pause = new WakeableWait();
  #serverStarted = '';
  /** the connection was replaced since the last renewal */
  #reconnected = false;
  #running: Promise<void> = Promise.resolve();

  /** holder: identifies us to operators. */
  constructor(chainId: string, holder: string, limits: LeadershipLimits, env: Env, host: LeadershipHost) {
    this.#chainId = chainId;
    this.#holder = holder;
    this.#limits = limits;
    this.#env = env;
    this.#host = host;
  }

  /** Runs until stop(). Rejects when the schema holds another chain. */
  run(): Promise<void> {
    this.#running = this.#rounds();
    return this.#running;
  }

  async #rounds(): Promise<void> {
    for (let failures = 0; !this.#stopped;) {
      try {
        const client = await this.#ensureConnected();
        await this.#round(client);
        failures = 0;
      } catch (error) {
        if (error instanceof OtherChain) throw error;
        if (this.#stopped) return;
        this.#drop();
        if (error instanceof SchemaBehind) {
          this.#host.state({ kind: 'schema', error: error.message });
          await this.#pause.wait(SCHEMA_POLL_MS);
          continue;
        }
        this.#host.state({ kind: 'unreachable', error: error as Error });
        await this.#pause.wait(backoffMs(failures, this.#limits.backoff, this.#env.random()));
        failures += 1;
      }
    }
  }

  /** A writer found that the epoch was raised. */
  fenced(epoch: bigint): void {
    if (this.#epoch === epoch) this.#pause.wake();
  }

  /** Releases the lease, so that the next daemon need not wait for it to expire. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#pause.wake();
    const client = this.#client;
    this.#client = null;
    if (client !== null) await this.#leave(client);
    await this.#running.catch(() => {});
  }

  async #leave(client: Client): Promise<void> {
    const release = async (): Promise<void> => {
      if (this.#epoch !== null) await releaseLease(client, this.#holder, this.#epoch);
      await client.end();
    };
    await answerWithin(release(), this.#limits.answerMs).catch(() => destroy(client));
  }

  async #round(client: Client): Promise<void> {
    if (this.#epoch !== null) return this.#renew(client, this.#epoch);
    const attempt = await answerWithin(
      tryLease(client, this.#chainId, this.#holder),
      3 * this.#limits.answerMs,
    );
    switch (attempt.kind) {
      case 'other_chain':
        throw new OtherChain(`this schema holds the chain ${attempt.chainId}, not CHAIN_ID=${this.#chainId}`);
      case 'standby':
        this.#host.state({ kind: 'standby', holder: attempt.holder });
        await this.#pause.wait(Math.min(this.#limits.renewMs, attempt.remainingMs + 1));
        return;
      case 'leader':
        this.#epoch = attempt.epoch;
        this.#serverStarted = attempt.serverStarted;
        this.#reconnected = false;
        this.#host.state({ kind: 'leading', epoch: attempt.epoch });
        this.#host.lead(attempt.epoch);
    }
  }

  async #renew(client: Client, epoch: bigint): Promise<void> {
    const askedMs = this.#env.clock.monotonicMs();
    const renewal = await answerWithin(renewLease(client, this.#holder, epoch), this.#limits.answerMs);
    this.#host.serverTime(renewal.nowMicros, askedMs);
    if (!renewal.held) {
      this.#epoch = null;
      this.#host.state({ kind: 'standby', holder: 'another daemon' });
      await this.#host.follow();
      return;
    }
    this.#host.state({ kind: 'leading', epoch });
    // a backend that crashes takes all connections and asynchronous commits with it, while the postmaster survives
    if (this.#reconnected || this.#serverStarted !== renewal.serverStarted) this.#host.serverChanged();
    this.#reconnected = false;
    this.#serverStarted = renewal.serverStarted;
    await this.#pause.wait(this.#limits.renewMs);
  }

  async #ensureConnected(): Promise<Client> {
    if (this.#client !== null) return this.#client;
    const client = await this.#host.connect(() => {
      if (this.#client !== client) return; // dropped by us
      this.#drop();
      this.#pause.wake();
    });
    try {
      await answerWithin(this.#host.checkSchema(client), SCHEMA_MS_MAX);
      if (this.#stopped) throw new Error('the daemon is stopping');
      const askedMs = this.#env.clock.monotonicMs();
      this.#host.serverTime(await answerWithin(serverMicros(client), this.#limits.answerMs), askedMs);
    } catch (error) {
      destroy(client);
      throw error;
    }
    this.#client = client;
    this.#reconnected = true;
    return client;
  }

  #drop(): void {
    if (this.#client !== null) destroy(this.#client);
    this.#client = null;
  }
}

/** One schema holds one chain; continuing would mix two. */
export class OtherChain extends Error {}
