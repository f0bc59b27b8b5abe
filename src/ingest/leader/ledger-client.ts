import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import type { Env } from '../../core/env.ts';
import { backoffMs, type BackoffLimits } from '../../core/retry.ts';
import type { TickRows } from '../../core/copy/frame.ts';
import type { TickRange } from '../../core/ingest/ranges.ts';
import type { FillReport } from '../gaps/report.ts';
import {
  mergeLedger,
  readHighestBelow,
  readLedger,
  readOutput,
  readIncidentCounts,
  recordOrigin,
  recordSkipped,
  type LedgerState,
} from '../../store/chain/ledger.ts';
import {
  readCounterparts,
  readDeadNumbers,
  recordDeadLetters,
  type Counterpart,
  type RepeatedDeadLetter,
} from '../../store/chain/counterparts.ts';
import { forgetForkAcceptance, recordHalt, type Halt } from '../../store/chain/halt.ts';
import { recordFilling } from '../../store/chain/gaps.ts';
import { replaceDeadLetter, type Replacement } from '../../store/chain/replace-dead-letter.ts';
import { answerWithin, Session, SessionClosedError } from '../../store/postgres/session.ts';
import { isFenced } from '../../store/postgres/sqlstate.ts';

/** What operators see of gaps and dead letters. */
export type IncidentCounts = Awaited<ReturnType<typeof readIncidentCounts>>;

const ANSWER_MS = 10_000;
/** includes connecting, whose limit the database URL sets */
const TURN_MS = 40_000;

/**
 * The leader's reads and writes other than the batches, on a separate session so that neither the lease nor the batches
 * wait for them: the origin, the check after the server changed, merging the ledger, counting gaps and dead letters.
 */
export class LedgerClient {
  readonly #backoff: BackoffLimits;
  readonly #env: Env;
  readonly #session: Session;

  constructor(backoff: BackoffLimits, env: Env, connect: () => Promise<Client>) {
    this.#backoff = backoff;
    this.#env = env;
    this.#session = new Session(connect, TURN_MS);
  }

  /** Retries until the origin is recorded. Resolves with the effective origin, or null when the epoch has moved on. */
  recordOrigin(first: bigint, epoch: bigint): Promise<bigint | null> {
    return this.#untilDone((client) => recordOrigin(client, first, epoch));
  }

  recordSkipped(gap: TickRange, epoch: bigint): Promise<void> {
    return this.#untilDone((client) => recordSkipped(client, gap, epoch));
  }

  readLedger(): Promise<LedgerState> {
    return this.#untilDone(readLedger);
  }

  recordHalt(epoch: bigint, halt: Halt): Promise<void> {
    return this.#untilDone((client) => recordHalt(client, epoch, halt));
  }

  forgetForkAcceptance(epoch: bigint): Promise<void> {
    return this.#untilDone((client) => forgetForkAcceptance(client, epoch));
  }

  readCounterparts(numbers: readonly bigint[]): Promise<Map<bigint, Counterpart>> {
    return this.#untilDone((client) => readCounterparts(client, numbers));
  }

  recordDeadLetters(epoch: bigint, deadLetters: readonly RepeatedDeadLetter[]): Promise<void> {
    return this.#untilDone((client) => recordDeadLetters(client, epoch, deadLetters));
  }

  replaceDeadLetter(epoch: bigint, raw: Uint8Array, rows: TickRows): Promise<Replacement> {
    return this.#untilDone((client) => replaceDeadLetter(client, epoch, raw, rows));
  }

  readDeadNumbers(limit: number): Promise<bigint[]> {
    return this.#untilDone((client) => readDeadNumbers(client, limit));
  }

  /** The VDF output of a stored tick; null when it is not stored. */
  readOutput(tick: bigint): Promise<string | null> {
    return this.#untilDone((client) => readOutput(client, tick));
  }

  readHighestBelow(tick: bigint): Promise<bigint | null> {
    return this.#untilDone((client) => readHighestBelow(client, tick));
  }

  /** One attempt; rejects when it fails. */
  mergeLedger(epoch: bigint, upTo: bigint): Promise<void> {
    return this.#once((client) => mergeLedger(client, epoch, upTo));
  }

  /** One attempt; rejects when it fails. */
  recordFilling(report: FillReport, epoch: bigint): Promise<void> {
    return this.#once((client) => recordFilling(client, report, epoch));
  }

  /** One attempt; rejects when it fails. */
  readIncidentCounts(): Promise<IncidentCounts> {
    return this.#once(readIncidentCounts);
  }

  /** Requests in flight and later ones reject with SessionClosedError. */
  stop(): Promise<void> {
    return this.#session.close();
  }

  async #untilDone<T>(request: (client: Client) => Promise<T>): Promise<T> {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await this.#once(request);
      } catch (error) {
        if (error instanceof SessionClosedError || isFenced(error)) throw error;
        await delay(backoffMs(attempt, this.#backoff, this.#env.random()));
      }
    }
  }

  #once<T>(request: (client: Client) => Promise<T>): Promise<T> {
    return this.#session.run((client) => answerWithin(request(client), ANSWER_MS));
  }
}
