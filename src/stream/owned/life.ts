import { isFenced, sqlstateOf } from '../../store/postgres/sqlstate.ts';
import type { ServerCalls } from '../server-calls.ts';

/** how long stop() waits for what is in flight, ms; after that the next owner repeats it */
const DRAIN_MS = 8_000;
/** raised by bars_begin_step and signals_begin_step when steps are not consecutive; the partition is reloaded */
const ASSERT_FAILURE = 'P0004';

/**
 * How long the work on an owned partition goes on, and what its calls to the servers wait for:
 *
 *   stop()     nothing more is read; what is in flight may still be committed, within DRAIN_MS
 *   abandon()  another member owns it: nothing more can be committed
 */
export class PartitionLife {
  readonly #calls: ServerCalls;
  readonly #stopping = new AbortController();
  readonly #giveUp = new AbortController();

  constructor(calls: ServerCalls) {
    this.#calls = calls;
  }

  get isStopping(): boolean {
    return this.#stopping.signal.aborted;
  }

  get isGivenUp(): boolean {
    return this.#giveUp.signal.aborted;
  }

  stop(): void {
    this.#stopping.abort();
    setTimeout(() => this.#giveUp.abort(), DRAIN_MS).unref();
  }

  abandon(): void {
    this.#giveUp.abort();
    this.#stopping.abort();
  }

  /**
   * Resolves when the work does, and also when it ended because of stop() or abandon(): the next owner repeats what was not
   * committed. Rejects when the partition was taken over (SQLSTATE MDF01), or with a permanent error.
   */
  async during(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!this.isStopping || isFenced(error)) throw error;
    }
  }

  /** Calls the bus until it answers, for what a stop makes useless. */
  readonly read = <T>(call: () => Promise<T>): Promise<T> => this.#calls.bus(call, this.#stopping.signal);

  /** Calls the bus until it answers, for what a stop still waits for. */
  readonly ask = <T>(call: () => Promise<T>): Promise<T> => this.#calls.bus(call, this.#giveUp.signal);

  /** Calls the store until it answers; rejects when the partition was taken over, or its steps are not consecutive. */
  readonly store = <T>(call: () => Promise<T>): Promise<T> =>
    this.#calls.database(call, this.#giveUp.signal, isPassing);
}

function isPassing(error: unknown): boolean {
  return !isFenced(error) && sqlstateOf(error) !== ASSERT_FAILURE;
}
