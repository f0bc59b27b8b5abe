import type { Client } from 'pg';
import { backoffMs, type BackoffLimits } from '../../core/retry.ts';
import type { Env } from '../../core/env.ts';
import { atMost } from '../../core/wait.ts';
import { isPooled } from '../postgres/pooler.ts';
import { answerWithin, destroy } from '../postgres/session.ts';

const BACKOFF: BackoffLimits = { firstMs: 100, maxMs: 5000 };
/** how often an idle connection is probed, and how long it may take to answer, ms */
const PING_MS = 15_000;
const ANSWER_MS = 10_000;
/** how long the first notification may take behind a pooler, ms */
const NOTIFIED_MS = 2000;
/** how long publishers keep notifying for this listener, and how often it renews its registration */
const WAIT_FOR = "interval '6 seconds'";
const STILL_FRESH = "interval '3 seconds'";
const REGISTER_MS = 2000;

/**
 * Listens for topics with new records. Its connection is no Session: it answers no calls, notifications arrive at any
 * time, and it reconnects by itself, without a limit, to keep them coming. It only saves time: a notification may be
 * lost, so waiters also poll.
 */
export class BusListener {
  readonly #connect: () => Promise<Client>;
  readonly #env: Pick<Env, 'log' | 'random'>;
  readonly #counts = new Map<string, number>();
  readonly #waiters = new Map<string, Set<() => void>>();
  /** topics whose publishers know that somebody listens */
  readonly #registered = new Set<string>();
  #client: Client | null = null;
  #isListening = false;
  #running: Promise<void> | null = null;
  #wakeUp: (() => void) | null = null;
  #closed = false;
  /** a pooler keeps notifications from us: listening again would not help */
  #isDeaf = false;

  constructor(connect: () => Promise<Client>, env: Pick<Env, 'log' | 'random'>) {
    this.#connect = connect;
    this.#env = env;
  }

  /** Notifications arrive at present. */
  get isListening(): boolean {
    return this.#isListening;
  }

  /** Incremented by each notification of the topic. */
  count(topic: string): number {
    return this.#counts.get(topic) ?? 0;
  }

  /**
   * Tells publishers, from time to time, that a notification of this topic is of use (they send none otherwise). True:
   * it did so now, and records that arrived before must be looked for once more.
   */
  async register(client: Client, topic: string): Promise<boolean> {
    this.#running ??= this.#run();
    if (!this.isListening || this.#registered.has(topic)) return false;
    await client.query(
      `INSERT INTO bus_waits AS w (topic, until) VALUES ($1, clock_timestamp() + ${WAIT_FOR})
       ON CONFLICT (topic) DO UPDATE SET until = excluded.until WHERE w.until < clock_timestamp() + ${STILL_FRESH}`,
      [topic],
    );
    this.#registered.add(topic);
    setTimeout(() => this.#registered.delete(topic), REGISTER_MS).unref();
    return true;
  }

  /** Waits until the topic's count differs from `count`, for at most `ms`, or until `over`. */
  async wait(topic: string, count: number, ms: number, over: Promise<void>): Promise<void> {
    if (this.#closed || this.count(topic) !== count) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiters = this.#waiters.get(topic) ?? new Set();
    this.#waiters.set(topic, waiters);
    waiters.add(resolve);
    const timer = setTimeout(resolve, ms);
    try {
      await Promise.race([promise, over]);
    } finally {
      clearTimeout(timer);
      waiters.delete(resolve);
    }
  }

  /** Releases all waiters. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#wakeUp?.();
    for (const waiters of this.#waiters.values()) for (const wake of waiters) wake();
    await this.#running;
  }

  async #run(): Promise<void> {
    for (let attempt = 0; !this.#closed && !this.#isDeaf; attempt++) {
      try {
        await this.#listen(() => (attempt = 0));
      } catch {
        // publishers and readers report what is wrong with the server; here it is only retried
      }
      this.#registered.clear();
      if (!this.#closed && !this.#isDeaf) await this.#pause(backoffMs(attempt, BACKOFF, this.#env.random()));
    }
  }

  async #listen(isUp: () => void): Promise<void> {
    const client = await this.#connect();
    this.#client = client;
    client.on('end', () => {
      if (this.#client === client) this.#client = null;
      this.#wakeUp?.();
    });
    client.on('notification', ({ payload }) => this.#notified(payload ?? ''));
    try {
      const { rows } = await client.query<{ channel: string }>('SELECT bus_channel() AS channel');
      const [{ channel }] = rows;
      await client.query(`LISTEN ${client.escapeIdentifier(channel)}`);
      this.#isDeaf = isPooled(client) && !(await this.#hears(client, channel));
      if (this.#isDeaf) {
        const message =
          'Notifications do not come through the pooler: new records are looked for more often instead. With session pooling (pool_mode = session) they would come';
        this.#env.log('warn', message, {});
        return;
      }
      this.#isListening = true;
      isUp();
      while (!this.#closed && this.#client === client) {
        await this.#pause(PING_MS);
        if (!this.#closed && this.#client === client) await answerWithin(client.query('SELECT 1'), ANSWER_MS);
      }
    } finally {
      this.#client = null;
      this.#isListening = false;
      destroy(client);
    }
  }

  /** Whether a notification of another session comes: a pooler of transactions gives them to nobody, or to somebody else. */
  async #hears(client: Client, channel: string): Promise<boolean> {
    const heard = Promise.withResolvers<void>();
    client.once('notification', () => heard.resolve());
    const other = await this.#connect();
    try {
      await answerWithin(other.query('SELECT pg_notify($1, $2)', [channel, '']), ANSWER_MS);
      return await atMost(heard.promise, NOTIFIED_MS);
    } finally {
      destroy(other);
    }
  }

  #notified(topic: string): void {
    this.#counts.set(topic, this.count(topic) + 1);
    const waiters = this.#waiters.get(topic);
    if (waiters === undefined) return;
    this.#waiters.delete(topic);
    for (const wake of waiters) wake();
  }

  async #pause(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wakeUp = resolve;
    if (this.#closed) resolve();
    const timer = setTimeout(resolve, ms);
    await promise;
    clearTimeout(timer);
  }
}
