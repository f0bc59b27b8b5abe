import type { Client } from 'pg';
import type { Env } from '../../core/env.ts';
import type { Micros } from '../../core/time.ts';
import { earlierNow, type HeldBack } from '../../store/retention/round.ts';
import { destroy } from '../../store/postgres/session.ts';

export interface RoundsOptions {
  /** its own session; a round that has much to do takes minutes, or hours */
  connect(): Promise<Client>;
  env: Env;
  /** from the end of a round to the next one, ms */
  intervalMs: number;
  /** a round, or a part of it, failed and will be retried */
  failed(): void;
}

/** What is done for one of the tables, or some that belong together. */
export interface Part<Done> {
  name: string;
  run: () => Promise<{ done: Done[]; heldBack: HeldBack[] }>;
}

/** What is done once an hour. */
export interface Upkeep<Done> {
  /** Log lines about it begin with this. */
  name: string;
  /** log line of what is older than asked for and left as it is */
  heldBackLine: string;
  /** Whether the database has what it needs. */
  isReady(client: Client): Promise<boolean>;
  /** One daemon at a time; the lock ends with the session. */
  tryLock(client: Client): Promise<boolean>;
  parts(client: Client, nowMicros: Micros): Promise<Part<Done>[]>;
  /** Tells of it; called only when something was done. error: of the parts that failed */
  report(client: Client, done: readonly Done[], round: RoundReport): Promise<void>;
}

export interface RoundReport {
  startedMicros: Micros;
  nowMicros: Micros;
  error: string | null;
}

export type Outcome = 'done' | 'failed' | 'not ready';

/** After a failure, and while the schema is not there yet. */
const AGAIN_MS = 300_000;
const NOT_READY_MS = 10_000;

/** Rounds of upkeep, at the start and then again and again; one that fails is logged and tried again. */
export class Rounds<Done> {
  readonly #upkeep: Upkeep<Done>;
  readonly #options: RoundsOptions;
  readonly #told = new Set<string>();
  #timer: NodeJS.Timeout | null = null;
  #client: Client | null = null;
  #round: Promise<void> | null = null;
  #stopped = false;

  constructor(upkeep: Upkeep<Done>, options: RoundsOptions) {
    this.#upkeep = upkeep;
    this.#options = options;
  }

  start(): void {
    this.#round = this.#turn();
  }

  /** Stops a round in progress; what it has done stays done. Idempotent. */
  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#client !== null) destroy(this.#client);
    await this.#round;
  }

  async #turn(): Promise<void> {
    const { intervalMs } = this.#options;
    const outcome = await this.round();
    if (this.#stopped) return;
    const waitMs = outcome === 'done' ? intervalMs : outcome === 'failed' ? AGAIN_MS : NOT_READY_MS;
    this.#timer = setTimeout(() => this.start(), Math.min(waitMs, intervalMs));
  }

  /** One round; never rejects. */
  async round(): Promise<Outcome> {
    let client: Client | null = null;
    try {
      client = await this.#options.connect();
      if (this.#stopped) return 'failed';
      this.#client = client;
      if (!(await this.#upkeep.isReady(client))) return 'not ready';
      // another daemon does it
      if (!(await this.#upkeep.tryLock(client))) return 'done';
      return await this.#doParts(client);
    } catch (error) {
      this.#fail('all', error);
      return 'failed';
    } finally {
      this.#client = null;
      // the lock is released with the session
      if (client !== null) await client.end().catch(() => {});
    }
  }

  async #doParts(client: Client): Promise<Outcome> {
    const startedMicros = this.#options.env.clock.nowMicros();
    const nowMicros = await earlierNow(client, startedMicros);
    const all: Done[] = [];
    const errors: string[] = [];
    for (const { name, run } of await this.#upkeep.parts(client, nowMicros)) {
      try {
        const { done, heldBack } = await run();
        all.push(...done);
        this.#tellHeldBack(name, heldBack);
      } catch (error) {
        // a reader that locks a chunk stops only this part
        this.#fail(name, error);
        errors.push(`${name}: ${(error as Error).message}`);
      }
    }
    if (all.length > 0) {
      const error = errors.length === 0 ? null : errors.join('; ');
      await this.#upkeep.report(client, all, { startedMicros, nowMicros, error });
    }
    return errors.length === 0 ? 'done' : 'failed';
  }

  /** Logs each reason once, until it is gone. */
  #tellHeldBack(part: string, heldBack: readonly HeldBack[]): void {
    const reasons = new Map(heldBack.map(({ what, by }) => [`${part} ${what}: ${by}`, { what, by }]));
    for (const told of this.#told) {
      if (told.startsWith(`${part} `) && !reasons.has(told)) this.#told.delete(told);
    }
    for (const [reason, fields] of reasons) {
      if (this.#told.has(reason)) continue;
      this.#told.add(reason);
      this.#options.env.log('warn', this.#upkeep.heldBackLine, fields);
    }
  }

  #fail(part: string, error: unknown): void {
    if (this.#stopped) return;
    this.#options.failed();
    this.#options.env.log('warn', `${this.#upkeep.name} failed (will try again)`, { part, err: error });
  }
}
