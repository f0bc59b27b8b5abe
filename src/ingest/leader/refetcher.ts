import type { Env } from '../../core/env.ts';
import { FillPlan, type FillEntry, type FillPlanLimits } from '../../core/ingest/fill-plan.ts';
import { backoffMs, LIMITED_BACKOFF, type BackoffLimits } from '../../core/retry.ts';
import { WakeableWait } from '../../core/wait.ts';
import { TickCaller, type CallLimits } from '../gaps/by-calls.ts';
import { SessionClosedError } from '../../store/postgres/session.ts';
import { isFenced } from '../../store/postgres/sqlstate.ts';
import type { TickServer } from '../sequencer/connection.ts';
import type { NumberedFrame } from './judge.ts';

export interface RefetchLimits extends FillPlanLimits, CallLimits {
  /** after a bad frame the good one may follow on the stream, ms */
  firstMs: number;
  /** numbers waiting at once; those beyond are asked for at the next start */
  numbersMax: number;
  /** numbers asked for together, and between two such groups, ms: not to burden a sequencer in trouble */
  chunk: number;
  paceMs: number;
  /** the connection is closed when nothing was due for this long, ms */
  lingerMs: number;
  /** between two attempts at a sequencer that does not answer at all */
  backoff: BackoffLimits;
  /** the same, at one that limits us */
  limited: BackoffLimits;
}

/** Eight times within some four minutes; a restart begins anew. */
export const REFETCH: Omit<RefetchLimits, 'backoff'> = {
  missesMax: 8,
  firstMs: 1_000,
  missWaits: { firstMs: 2_000, maxMs: 300_000 },
  failureWaits: { firstMs: 2_000, maxMs: 300_000 },
  calls: 4,
  chunkBytes: 4 * 1024 * 1024,
  numbersMax: 100_000,
  chunk: 64,
  paceMs: 250,
  lingerMs: 10_000,
  limited: LIMITED_BACKOFF,
};

export interface RefetcherHost {
  /** Opens a separate connection; throws when it cannot be created. */
  connect(): TickServer;
  /** Numbers that have nothing but an open dead letter, at most `limit`. Rejects when the daemon stops. */
  readDeadNumbers(limit: number): Promise<bigint[]>;
  /** Stores what is good. Returns the numbers that have nothing but dead letters still; null when the run is over. */
  fetched(frames: readonly NumberedFrame[]): Promise<bigint[] | null>;
}

/**
 * Asks the sequencer by GetTick for the numbers of dead letters (spec P1): a bad frame says nothing about its tick. Each
 * number is asked for some times with growing waits, on a connection of its own, a group at a time, the lowest first. A
 * sequencer that does not answer at all, or limits us, costs no attempts.
 */
export class Refetcher {
  readonly #limits: RefetchLimits;
  readonly #env: Env;
  readonly #host: RefetcherHost;
  readonly #caller: TickCaller;
  readonly #pause = new WakeableWait();
  #plan: FillPlan;
  /** those in the plan, and those being asked for */
  #numbers = new Set<bigint>();
  #server: TickServer | null = null;
  /** raised at each start and stop: work of an earlier value is obsolete */
  #run = 0;
  #downAttempt = 0;

  constructor(limits: RefetchLimits, env: Env, host: RefetcherHost) {
    this.#limits = limits;
    this.#env = env;
    this.#host = host;
    this.#caller = new TickCaller(limits);
    this.#plan = new FillPlan(limits, () => env.random());
  }

  /** Begins with what the store has. */
  start(): void {
    this.stop();
    this.#plan = new FillPlan(this.#limits, () => this.#env.random());
    this.#numbers = new Set();
    void this.#work(this.#run).catch((error: unknown) => {
      // the daemon is stopping, or another one has the epoch
      if (error instanceof SessionClosedError || isFenced(error)) return;
      this.#env.log('error', 'GetTick is not asked for dead letters any more', {
        error: (error as Error).message,
      });
    });
  }

  stop(): void {
    this.#run += 1;
    this.#downAttempt = 0;
    this.#disconnect();
    this.#pause.wake();
  }

  /** Their dead letters were committed. */
  add(numbers: readonly bigint[]): void {
    if (numbers.length === 0) return;
    for (const number of numbers) this.#put(number, this.#limits.firstMs);
    this.#pause.wake();
  }

  get #nowMs(): number {
    return this.#env.clock.monotonicMs();
  }

  #put(number: bigint, waitMs: number): void {
    if (this.#numbers.has(number) || this.#numbers.size >= this.#limits.numbersMax) return;
    this.#numbers.add(number);
    const range = { first: number, last: number };
    this.#plan.put(range, { mode: 'each', misses: 0, failures: 0 }, this.#nowMs + waitMs);
  }

  async #work(run: number): Promise<void> {
    const numbers = await this.#host.readDeadNumbers(this.#limits.numbersMax);
    if (run !== this.#run) return;
    for (const number of numbers) this.#put(number, 0);
    while (run === this.#run) {
      const entries = this.#takeDue();
      if (entries.length > 0) {
        await this.#ask(run, entries);
        await this.#waitFor(run, this.#limits.paceMs);
        continue;
      }
      const { nextMs } = this.#plan;
      const lingerMs = this.#server === null ? Infinity : this.#limits.lingerMs;
      const waitMs = nextMs === null ? Infinity : Math.max(1, nextMs - this.#nowMs);
      await this.#pause.wait(Math.min(waitMs, lingerMs));
      if (run === this.#run && waitMs > lingerMs && !this.#isDue) this.#disconnect();
    }
  }

  get #isDue(): boolean {
    const { nextMs } = this.#plan;
    return nextMs !== null && nextMs <= this.#nowMs;
  }

  /** The lowest numbers that are due, a group of them. */
  #takeDue(): FillEntry[] {
    let room = BigInt(this.#limits.chunk);
    const due = this.#plan.take(this.#nowMs, ({ first, last }) => {
      if (room <= 0n) return 'stop';
      room -= last - first + 1n;
      return 'take';
    });
    const [longest] = due.slice(-1);
    if (room >= 0n || longest === undefined) return due;
    const last = longest.last + room;
    this.#plan.put({ first: last + 1n, last: longest.last }, longest, longest.notBeforeMs);
    return [...due.slice(0, -1), { ...longest, last }];
  }

  async #ask(run: number, entries: readonly FillEntry[]): Promise<void> {
    const server = this.#connect();
    const { backoff } = this.#limits;
    if (server === null) return this.#serverDown(run, entries, backoff);
    const { frames, missing, failed, answered, limited } = await this.#caller.ask(server, entries);
    if (run !== this.#run) return;
    if (!answered && limited !== null) return this.#serverDown(run, entries, this.#limits.limited);
    // "not there" says nothing while the head is below the number: a server that is behind
    const head = answered && missing.count() === 0n ? null : await headOf(server);
    if (run !== this.#run) return;
    if (!answered && head === null) return this.#serverDown(run, entries, backoff);
    this.#downAttempt = 0;
    const found = frames.flatMap(({ number, bytes }) => (number === null ? [] : [{ number, bytes }]));
    const dead = found.length === 0 ? [] : await this.#host.fetched(found);
    if (dead === null || run !== this.#run) return;
    const inVain = new Set([...dead, ...failed.map(({ number }) => number)]);
    const settled = new Set(found.map(({ number }) => number).filter((number) => !inVain.has(number)));
    const givenUp: bigint[] = [];
    for (const entry of entries) {
      for (let number = entry.first; number <= entry.last; number += 1n) {
        const range = { first: number, last: number };
        if (settled.has(number)) this.#numbers.delete(number);
        else if (missing.has(number) && (head === null || head < number))
          this.#plan.failed(range, entry, this.#nowMs);
        else if (!inVain.has(number) && !missing.has(number)) this.#plan.put(range, entry, 0);
        else if (this.#plan.missed(range, entry, this.#nowMs) === null) givenUp.push(number);
      }
    }
    if (givenUp.length > 0) this.#giveUp(givenUp);
    if (limited !== null) await this.#serverDown(run, [], this.#limits.limited);
  }

  #giveUp(numbers: readonly bigint[]): void {
    for (const number of numbers) this.#numbers.delete(number);
    this.#env.log('warn', 'The sequencer has no good tick for dead letters; they stay', {
      ticks: numbers.length,
      first_tick: numbers[0],
      last_tick: numbers.at(-1),
    });
  }

  async #serverDown(run: number, entries: readonly FillEntry[], limits: BackoffLimits): Promise<void> {
    this.#disconnect();
    const waitMs = backoffMs(this.#downAttempt, limits, this.#env.random());
    this.#downAttempt += 1;
    for (const entry of entries) this.#plan.put(entry, entry, this.#nowMs + waitMs);
    await this.#waitFor(run, waitMs);
  }

  async #waitFor(run: number, ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    for (let restMs = ms; restMs > 0 && run === this.#run; restMs = untilMs - this.#nowMs)
      await this.#pause.wait(restMs);
  }

  #connect(): TickServer | null {
    try {
      return (this.#server ??= this.#host.connect());
    } catch {
      return null; // the live stream reports the same
    }
  }

  #disconnect(): void {
    this.#server?.close();
    this.#server = null;
  }
}

/** Null when it is not answered. */
async function headOf(server: TickServer): Promise<bigint | null> {
  try {
    return await server.head();
  } catch {
    return null;
  }
}
