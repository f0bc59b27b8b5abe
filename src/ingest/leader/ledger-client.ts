import { setTimeout as delay } from 'node:timers/promises';
import { DatabaseError, type Client } from 'pg';
import type { Env } from '../../core/env.ts';
import { backoffMs, storeVerdict, type BackoffLimits } from '../../core/retry.ts';
import type { TickRange } from '../../core/ingest/ranges.ts';
import type { FillReport } from '../gaps/report.ts';
import {
  mergeLedger,
  readLedger,
  readOutput,
  readIncidentCounts,
  recordOrigin,
  recordSkipped,
  type LedgerState,
} from '../../store/chain/ledger.ts';
import {
  readCounterparts,
  recordConflicts,
  type ConflictLetter,
  type Counterpart,
} from '../../store/chain/conflicts.ts';
import { forgetForkAcceptance, recordHalt, type Halt } from '../../store/chain/halt.ts';
import { recordFilling } from '../../store/chain/gaps.ts';
import { answerWithin, destroy } from '../../store/postgres/session.ts';

/** Opens a connection to the database; onLost: it ended by itself. */
export type ConnectClient = (onLost: (error: Error) => void) => Promise<Client>;

/** What operators are shown about gaps and dead letters. */
export type IncidentCounts = Awaited<ReturnType<typeof readIncidentCounts>>;

const ANSWER_MS = 10_000;

/**
 * What the leader reads and writes beside the batches, on a connection of its own, so that neither the lease nor the batches wait for it: the
 * origin, the check after the server changed, merging the ledger, counting gaps and dead letters. One request at a time.
 */
export class LedgerClient {
  readonly #backoff: BackoffLimits;
  readonly #env: Env;
  readonly #connect: ConnectClient;
  #client: Client | null = null;
  #last: Promise<unknown> = Promise.resolve();
  #stopped = false;

  constructor(backoff: BackoffLimits, env: Env, connect: ConnectClient) {
    this.#backoff = backoff;
    this.#env = env;
    this.#connect = connect;
  }

  /** Tries until the origin is recorded. Resolves with the origin that holds, or null when the epoch has moved on. */
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

  recordConflicts(epoch: bigint, letters: readonly ConflictLetter[]): Promise<void> {
    return this.#untilDone((client) => recordConflicts(client, epoch, letters));
  }

  /** The VDF output of a stored tick; null when it is not stored. */
  readOutput(tick: bigint): Promise<string | null> {
    return this.#untilDone((client) => readOutput(client, tick));
  }

  /** Once; rejects when it fails. */
  mergeLedger(epoch: bigint, upTo: bigint): Promise<void> {
    return this.#once((client) => mergeLedger(client, epoch, upTo));
  }

  /** Once; rejects when it fails. */
  recordFilling(report: FillReport, epoch: bigint): Promise<void> {
    return this.#once((client) => recordFilling(client, report, epoch));
  }

  /** Once; rejects when it fails. */
  readIncidentCounts(): Promise<IncidentCounts> {
    return this.#once(readIncidentCounts);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    const client = this.#client;
    this.#client = null;
    if (client !== null) await answerWithin(client.end(), ANSWER_MS).catch(() => destroy(client));
  }

  async #untilDone<T>(request: (client: Client) => Promise<T>): Promise<T> {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await this.#once(request);
      } catch (error) {
        if (this.#stopped || isFenced(error)) throw error;
        await delay(backoffMs(attempt, this.#backoff, this.#env.random()));
      }
    }
  }

  #once<T>(request: (client: Client) => Promise<T>): Promise<T> {
    const run = this.#last.then(async () => {
      if (this.#stopped) throw new Error('the daemon is stopping');
      const client = await this.#connected();
      try {
        return await answerWithin(request(client), ANSWER_MS);
      } catch (error) {
        // whatever it was, the state of the connection is not worth guessing
        if (this.#client === client) this.#client = null;
        destroy(client);
        throw error;
      }
    });
    this.#last = run.catch(() => {});
    return run;
  }

  async #connected(): Promise<Client> {
    if (this.#client !== null) return this.#client;
    const client = await this.#connect(() => {
      if (this.#client === client) this.#client = null;
    });
    this.#client = client;
    return client;
  }
}

function isFenced(error: unknown): boolean {
  return error instanceof DatabaseError && storeVerdict(error.code) === 'fenced';
}
