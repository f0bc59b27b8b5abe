import type { Env } from '../../core/env.ts';
import { backoffMs, type BackoffLimits } from '../../core/retry.ts';
import type { Unconnected } from '../writer/outcome.ts';
import type { ConnectedThreads } from './host.ts';

/** Waits between attempts while no writer has a connection: an outage. */
const OUTAGE: BackoffLimits = { firstMs: 200, maxMs: 5_000 };
/** The same while others have one: something limits connections, and what is freed is left to other sessions first. */
const LIMITED: BackoffLimits = { firstMs: 1_000, maxMs: 60_000 };
/** How long no further writer connects for the sake of another session of the daemon, ms. */
const ROOM_MS = 10_000;

/**
 * Which writers can take a batch: those that have a connection and nothing to do. As many are connected as there are batches
 * to write; one that cannot connect has no batch meanwhile, so nothing waits for it.
 *
 *   unconnected ─ want() ─► connecting ─► idle ─ take() ─► writing ─ give() ─► idle
 *        ▲                      │ failed    │ before()        │ lost()
 *        └──── a wait ◄─────────┴───────────┴─────────────────┘
 */
export class FreeWriters {
  readonly #threads: ConnectedThreads;
  readonly #env: Env;
  readonly #freed: () => void;
  readonly #unconnected: number[];
  readonly #idle: number[] = [];
  /** waiting for their next attempt */
  readonly #resting = new Map<number, NodeJS.Timeout>();
  readonly #failures = new Map<number, number>();
  #connecting = 0;
  #connected = 0;
  #roomUntilMs = 0;
  /** a writer gives up its connection when its batch is done */
  #owesRoom = false;

  /** freed: a writer has become idle, or may be connected. */
  constructor(threads: ConnectedThreads, env: Env, freed: () => void) {
    this.#threads = threads;
    this.#env = env;
    this.#freed = freed;
    this.#unconnected = Array.from({ length: threads.writers }, (_, writer) => writer);
  }

  get isOneIdle(): boolean {
    return this.#idle.length > 0;
  }

  /** How many have a connection, as far as is known. */
  get connected(): number {
    return this.#connected;
  }

  /** Call it only while one is idle. */
  take(): number {
    return this.#idle.shift()!;
  }

  /** Its batch has an outcome, and it keeps its connection. */
  give(writer: number): void {
    this.#idle.push(writer);
    if (this.#owesRoom) this.#leave();
  }

  /** It has no connection; null: its thread died. */
  lost(writer: number, failure: Unconnected | null): void {
    this.#connected -= 1;
    this.#failed(writer, failure);
  }

  /** The same of one that has no batch, as far as it knows itself: a batch that is on its way to it comes back, if need be. */
  idleLost(writer: number): void {
    const at = this.#idle.indexOf(writer);
    if (at < 0) return;
    this.#idle.splice(at, 1);
    this.#connected -= 1;
    this.#failed(writer, null);
  }

  /** So many batches wait for a writer. */
  want(batches: number): void {
    while (this.#connecting < batches && this.#unconnected.length > 0 && this.#mayConnect) {
      void this.#connect(this.#unconnected.shift()!);
    }
  }

  /**
   * Connects a session that the daemon has one of, which has precedence: while it gets no connection, a writer gives up its own,
   * unless it is the last one, and no further writer connects.
   */
  async before<T>(connect: () => Promise<T>): Promise<T> {
    try {
      const connected = await connect();
      const isOver = this.#roomUntilMs > 0;
      this.#roomUntilMs = 0;
      this.#owesRoom = false;
      if (isOver) this.#freed();
      return connected;
    } catch (error) {
      this.#roomUntilMs = this.#env.clock.monotonicMs() + ROOM_MS;
      this.#owesRoom = true;
      this.#leave();
      throw error;
    }
  }

  get #mayConnect(): boolean {
    if (this.#connected === 0) return this.#connecting === 0 || this.#roomUntilMs === 0;
    return this.#env.clock.monotonicMs() >= this.#roomUntilMs;
  }

  #leave(): void {
    if (this.#connected <= 1 || this.#idle.length === 0) return;
    const writer = this.#idle.pop()!;
    this.#owesRoom = false;
    this.#connected -= 1;
    this.#threads.disconnect(writer);
    this.#unconnected.push(writer);
  }

  async #connect(writer: number): Promise<void> {
    this.#connecting += 1;
    let failure: Unconnected | null;
    try {
      failure = await this.#threads.connect(writer);
    } catch {
      this.#connecting -= 1;
      this.#failed(writer, null);
      return;
    }
    this.#connecting -= 1;
    if (failure !== null) {
      this.#failed(writer, failure);
      return;
    }
    this.#failures.delete(writer);
    this.#connected += 1;
    // there may be room for all of them again
    for (const [resting, timer] of this.#resting) {
      clearTimeout(timer);
      this.#unconnected.push(resting);
    }
    this.#resting.clear();
    this.give(writer);
    this.#freed();
  }

  #failed(writer: number, failure: Unconnected | null): void {
    if (failure === null) {
      this.#unconnected.push(writer);
      this.#freed();
      return;
    }
    const failures = this.#failures.get(writer) ?? 0;
    this.#failures.set(writer, failures + 1);
    const isOutage = this.#connected === 0;
    const waitMs = backoffMs(failures, isOutage ? OUTAGE : LIMITED, this.#env.random());
    const { error, sqlstate } = failure;
    const fields = { writer, error, sqlstate, attempt: failures + 1, retry_ms: waitMs };
    if (isOutage) this.#env.log('warn', 'Failed to connect to database', fields);
    else {
      const connected = { writers_connected: this.#connected, writers: this.#threads.writers };
      this.#env.log('warn', 'A writer gets no connection; the others write', { ...fields, ...connected });
    }
    this.#resting.set(
      writer,
      setTimeout(() => {
        this.#resting.delete(writer);
        this.#unconnected.push(writer);
        this.#freed();
      }, waitMs),
    );
  }
}
