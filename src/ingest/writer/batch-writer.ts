import type { Env } from '../../core/env.ts';
import { DatabaseError, type Client } from 'pg';
import { backoffMs, storeVerdict, type BackoffLimits } from '../../core/retry.ts';
import { writeBatch, type BatchWrite, type WrittenBatch } from '../../store/chain/batch.ts';
import { BatchError } from '../../store/postgres/pipelined-copy.ts';
import { isPooled } from '../../store/postgres/pooler.ts';
import { answerWithin, destroy } from '../../store/postgres/session.ts';
import { endBackend, ownBackend } from '../../store/chain/lease.ts';
import { ledgerCovers } from '../../store/chain/ledger.ts';
import type { Backend, Unconnected, WriteAttempt, WriteOutcome } from './outcome.ts';
import { liesInRows, refused, storedCopy, witnessOf } from './refusal.ts';
import {
  isTooMuchAtOnce,
  LateAnswer,
  NoAnswer,
  troubleLine,
  troubleOf,
  type DatabaseTrouble,
} from './trouble.ts';
import { deadline, WakeableWait } from '../../core/wait.ts';

export interface WriterLimits {
  backoff: BackoffLimits;
  /** the connection is dropped when a batch is not answered within this time, ms; a single frame gets longer each time */
  answerMs: number;
  /** DB_MAX_CONN_LIFETIME, ms */
  lifetimeMs: number;
  /** DB_MAX_CONN_IDLE_TIME, ms; null keeps an idle connection open (DB_MIN_CONNECTIONS) */
  idleMs: number | null;
  /** DB_SYNCHRONOUS_COMMIT = off */
  asynchronousCommit: boolean;
}

export interface WriterHost {
  connect(onLost: (error: Error) => void): Promise<Client>;
  /** null: connected; otherwise the reason why not */
  database(trouble: DatabaseTrouble | null): void;
  retried(): void;
  /** it has no connection any more, and is not at work */
  lost(): void;
  /** a connection was opened: remembered in case this thread dies */
  backend(backend: Backend): void;
}

interface Connected {
  client: Client;
  /** null: it is a pooler's, and others use it as well */
  backend: Backend | null;
  sinceMs: number;
}

/** How often the time for an answer to a batch of one frame doubles. */
const DOUBLINGS_MAX = 4;
/** Before a tick that nothing speaks for or against is tried again, ms. */
const UNPROVEN_MS = 500;
/** How long a terminated backend may take to disappear before it is terminated again, ms. */
const BACKEND_POLL_MS = 100;
/** Between two looks at a COMMIT that waits for a synchronous standby, ms. */
const STANDBY_POLL_MS = 1_000;
/** A server that does not end the session in time is left alone, ms. */
const CLOSE_MS = 2_000;

/**
 * One writer: one connection, one transaction at a time. A batch leaves write() committed, refused, late, fenced, stopped, or
 * because there is no connection to be had, and in no other way; errors of the server, of resources and of the schema are
 * retried without a limit with the same bytes.
 *
 *   connect ─► send ─► committed        (connect failed ─► unconnected)
 *               │ error or no answer: the outcome is unknown; a tick alone is refused when another row passes before
 *               ▼ and after it
 *   wait ─► connect ─► end the old backend, wait until it is gone ─► ledger covers the range? ─► committed
 *     ▲                                                                  │ no; the error lay in the rows ─► refused
 *     │                                                                  │ no; too slow or too much ─► late
 *     └──────────────────────────── error ◄──────────────────────────── send
 */
export class BatchWriter {
  readonly #limits: WriterLimits;
  readonly #env: Env;
  readonly #host: WriterHost;
  #connected: Connected | null = null;
  /** backends whose last transaction may still be running */
  readonly #orphans: Backend[];
  #idle: NodeJS.Timeout | null = null;
  #stopping = false;
  readonly #pause = new WakeableWait();
  #working = false;

  /** orphans: backends that a dead writer left behind. */
  constructor(limits: WriterLimits, env: Env, host: WriterHost, orphans: readonly Backend[] = []) {
    this.#orphans = [...orphans];
    this.#limits = limits;
    this.#env = env;
    this.#host = host;
  }

  write(batch: BatchWrite, attempt: WriteAttempt): Promise<WriteOutcome> {
    this.#orphans.push(...attempt.orphans);
    return this.#work(() => this.#writeUntilDone(batch, attempt));
  }

  /** One attempt; null: there is a connection. */
  connect(): Promise<Unconnected | null> {
    return this.#work(async () => {
      try {
        await this.#ensureConnected();
        this.#host.database(null);
        return null;
      } catch (error) {
        return this.#unconnected(error as Error, false);
      }
    });
  }

  /** Unless it is at work. */
  async disconnect(): Promise<void> {
    if (!this.#working) await this.#disconnect();
  }

  async #work<T>(work: () => Promise<T>): Promise<T> {
    if (this.#idle !== null) clearTimeout(this.#idle);
    this.#idle = null;
    this.#working = true;
    try {
      return await work();
    } finally {
      this.#working = false;
      this.#armIdle();
    }
  }

  /** A batch in flight ends as soon as its current attempt does. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#pause.wake();
    if (this.#idle !== null) clearTimeout(this.#idle);
    if (!this.#working) await this.#disconnect();
  }

  async #writeUntilDone(
    batch: BatchWrite,
    { unknown: mayBeCommitted, isDivisible }: WriteAttempt,
  ): Promise<WriteOutcome> {
    let ambiguous = 0;
    let lateTimes = 0;
    let unknown = mayBeCommitted;
    let late: Error | null = null;
    let refusal: BatchError | null = null;
    /** another row passed after this tick was refused */
    let isWitnessed = false;
    let atOnce = true;
    for (let attempt = 0; ; attempt += 1) {
      if (!atOnce) {
        this.#host.retried();
        await this.#pause.wait(backoffMs(Math.max(0, attempt - 1), this.#limits.backoff, this.#env.random()));
      }
      if (this.#stopping) return { kind: 'stopped' };
      const connected = await this.#ensureConnected().catch((error: Error) => error);
      if (connected instanceof Error) return this.#unconnected(connected, unknown);
      try {
        if (unknown && (await this.#settle(connected.client, batch))) {
          this.#host.database(null);
          return { kind: 'committed', resolved: true, ambiguous, durationMs: 0, brokenLinks: [] };
        }
        if (late !== null && isDivisible) {
          this.#host.database(null);
          return { kind: 'late', ambiguous, error: late.message };
        }
        if (refusal !== null) {
          const witness = await witnessOf(connected.client, batch, refusal, this.#limits.answerMs);
          // refused before and after another row passed
          if (witness === null || (witness === 'passes' && isWitnessed)) {
            const stored = await storedCopy(connected.client, batch, refusal, this.#limits.answerMs);
            this.#host.database(null);
            return refused(refusal, stored, false);
          }
          isWitnessed = witness === 'passes';
          if (!isWitnessed) this.#report(refusal, attempt);
          if (witness === 'none') {
            await this.#pause.wait(UNPROVEN_MS);
            return this.#stopping ? { kind: 'stopped' } : refused(refusal, null, true);
          }
          refusal = null;
          atOnce = isWitnessed;
          continue;
        }
        unknown = false;
        const startedMs = this.#env.clock.monotonicMs();
        const { brokenLinks } = await this.#send(connected, batch, lateTimes);
        this.#host.database(null);
        const durationMs = this.#env.clock.monotonicMs() - startedMs;
        return { kind: 'committed', resolved: false, ambiguous, durationMs, brokenLinks };
      } catch (error) {
        const sqlstate =
          error instanceof BatchError || error instanceof DatabaseError ? error.code : undefined;
        const verdict = storeVerdict(sqlstate);
        if (verdict === 'fenced') {
          // its transaction is aborted and part of the data may still be in transit: never reused
          this.#give(false);
          this.#host.database(null);
          return { kind: 'fenced' };
        }
        if (error instanceof NoAnswer) ambiguous += 1;
        if (error instanceof LateAnswer) lateTimes += 1;
        if (isTooMuchAtOnce(error)) late = error as Error;
        // also after an error with a SQLSTATE: a backend that is being terminated may report that after its commit
        unknown = true;
        this.#give(true);
        // then only the ledger must be asked, and it is no outage
        atOnce = error instanceof BatchError && liesInRows(error, verdict, batch);
        if (atOnce) refusal = error as BatchError;
        else this.#report(error as Error, attempt);
      }
    }
  }

  /** Sends the batch and waits for its answer, or gives up when the server has been silent for too long. */
  async #send({ client }: Connected, batch: BatchWrite, lateTimes: number): Promise<WrittenBatch> {
    const { asynchronousCommit } = this.#limits;
    const answerMs = this.#limits.answerMs * 2 ** Math.min(lateTimes, DOUBLINGS_MAX);
    const late = (): Error => new LateAnswer(`no answer for ${answerMs} ms`);
    try {
      return await deadline(writeBatch(client, batch, asynchronousCommit), answerMs, late);
    } catch (error) {
      if (error instanceof NoAnswer || error instanceof BatchError) throw error;
      throw new NoAnswer((error as Error).message);
    }
  }

  /** After a failure: nothing may be sent again while the old backend could still commit. */
  async #settle(client: Client, batch: BatchWrite): Promise<boolean> {
    let isTold = false;
    for (let orphan = this.#orphans[0]; orphan !== undefined; orphan = this.#orphans[0]) {
      const state = await answerWithin(endBackend(client, orphan), this.#limits.answerMs);
      if (state === 'gone') this.#orphans.shift();
      else if (this.#stopping) throw new Error('stopped while an earlier transaction was still open');
      else {
        if (state !== 'ending' && !isTold) this.#report(state, 0);
        isTold ||= state !== 'ending';
        await this.#pause.wait(state === 'ending' ? BACKEND_POLL_MS : STANDBY_POLL_MS);
      }
    }
    if (batch.range === null) return false;
    return answerWithin(ledgerCovers(client, batch.range), this.#limits.answerMs);
  }

  async #ensureConnected(): Promise<Connected> {
    const present = this.#connected;
    if (present !== null && this.#env.clock.monotonicMs() - present.sinceMs < this.#limits.lifetimeMs)
      return present;
    await this.#disconnect();
    const client = await this.#host.connect(() => {
      if (this.#connected?.client !== client) return;
      this.#give(this.#working);
      if (!this.#working) this.#host.lost();
    });
    const connected = {
      client,
      backend: await this.#backendOf(client),
      sinceMs: this.#env.clock.monotonicMs(),
    };
    this.#connected = connected;
    if (connected.backend !== null) this.#host.backend(connected.backend);
    return connected;
  }

  /**
   * Behind a pooler the ledger alone decides: a batch that is sent again waits at its row until the transaction of the
   * earlier attempt has ended.
   */
  async #backendOf(client: Client): Promise<Backend | null> {
    if (isPooled(client)) return null;
    try {
      return await answerWithin(ownBackend(client), this.#limits.answerMs);
    } catch (error) {
      destroy(client);
      throw error;
    }
  }

  #unconnected(cause: Error, unknown: boolean): Unconnected {
    const { error, sqlstate } = troubleOf(cause);
    this.#host.retried();
    this.#host.database({ kind: 'unconnected', error, sqlstate });
    return { kind: 'unconnected', error, sqlstate, unknown, orphans: unknown ? this.#orphans.splice(0) : [] };
  }

  /** The connection is never reused; a backend that may be writing is remembered until it is known to be gone. */
  #give(mayBeWriting: boolean): void {
    const connected = this.#connected;
    this.#connected = null;
    if (connected === null) return;
    if (mayBeWriting && connected.backend !== null) this.#orphans.push(connected.backend);
    destroy(connected.client);
  }

  async #disconnect(): Promise<void> {
    const connected = this.#connected;
    this.#connected = null;
    if (connected === null) return;
    await answerWithin(connected.client.end(), CLOSE_MS).catch(() => destroy(connected.client));
  }

  #armIdle(): void {
    if (this.#limits.idleMs === null) return;
    this.#idle = setTimeout(() => {
      this.#host.lost();
      void this.#disconnect();
    }, this.#limits.idleMs);
    this.#idle.unref();
  }

  #report(error: Error, attempt: number): void {
    const trouble = troubleOf(error);
    this.#host.database(trouble);
    const { level, message } = troubleLine(trouble);
    this.#env.log(level, message, { error: trouble.error, sqlstate: trouble.sqlstate, attempt: attempt + 1 });
  }
}
