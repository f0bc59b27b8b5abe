import { createHash, timingSafeEqual } from 'node:crypto';
import type { Env } from '../../../core/env.ts';
import { ANONYMOUS, SCOPES, type AccessControl, type Principal, type Scope } from '../access.ts';

/** A token of the table. */
export interface KnownToken {
  id: number;
  name: string;
  /** SHA-256 of the token, 32 bytes */
  hash: Buffer;
  scopes: readonly string[];
  /** µs since 1970; null: never */
  expiresAt: bigint | null;
}

/** Where tokens are kept. */
export interface TokenTable {
  /** those that may be used now */
  readValid(): Promise<KnownToken[]>;
  touch(ids: readonly number[]): Promise<void>;
}

export interface TokenAccessOptions {
  /** API_TOKEN: each with every scope; none: the API is open */
  tokens: readonly string[];
  table: TokenTable;
  /** between two readings of the table; default 2 s: what is revoked is refused within five seconds */
  reloadMs?: number;
  env: Env;
}

interface Entry {
  hash: Buffer;
  principal: Principal;
  /** null: of API_TOKEN, which is in no table */
  id: number | null;
  expiresAt: bigint | null;
}

const EVERYTHING: ReadonlySet<Scope> = new Set(SCOPES);
const RELOAD_MS = 2_000;
/** The same when a token was shown that nobody knows: one that was made just now works soon, and guesses cost four readings a second. */
const SOON_MS = 250;
/** Between two notes that a token was used. */
const TOUCH_MS = 60_000;

/**
 * API_TOKEN and the tokens of the table, which is read every two seconds: while the database is away those that are known stay,
 * until they expire. Requests wait for neither reading nor writing.
 */
export class TokenAccess implements AccessControl {
  readonly isOpen: boolean;
  readonly anonymous: Principal = { name: ANONYMOUS, scopes: EVERYTHING };
  readonly #table: TokenTable;
  readonly #env: Env;
  readonly #reloadMs: number;
  readonly #configured: readonly Entry[];
  #stored: readonly Entry[] = [];
  /** by id: when its use was last noted; of those in the table */
  #touchedMs = new Map<number, number>();
  readonly #used = new Set<number>();
  #timer: NodeJS.Timeout | null = null;
  /** when the table was last read; null while it is */
  #readMs: number | null = null;
  #dueMs = 0;
  #isClosed = false;
  #isAway = false;
  #reading: Promise<void> = Promise.resolve();

  constructor({ tokens, table, env, reloadMs = RELOAD_MS }: TokenAccessOptions) {
    this.#reloadMs = reloadMs;
    this.isOpen = tokens.length === 0;
    this.#table = table;
    this.#env = env;
    this.#configured = tokens.map((token) => ({
      hash: digest(token),
      principal: { name: 'API_TOKEN', scopes: EVERYTHING },
      id: null,
      expiresAt: null,
    }));
  }

  /** Resolves after the first reading, also when it failed. */
  async start(): Promise<void> {
    await this.#reload();
  }

  /** Reads no more; resolves once nothing is under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#reading;
  }

  authenticate(token: string): Principal | null {
    const asked = digest(token);
    let found: Entry | null = null;
    // all of them, whichever it is
    for (const entries of [this.#configured, this.#stored])
      for (const entry of entries) if (timingSafeEqual(asked, entry.hash)) found = entry;
    if (found === null) {
      // it may have been made a moment ago
      this.#schedule(SOON_MS);
      return null;
    }
    if (found.expiresAt !== null && found.expiresAt <= this.#env.clock.nowMicros()) return null;
    if (found.id !== null) this.#used.add(found.id);
    return found.principal;
  }

  #reload(): Promise<void> {
    this.#timer = null;
    this.#readMs = null;
    this.#reading = this.#read().then(() => {
      this.#readMs = this.#env.clock.monotonicMs();
      this.#schedule(this.#reloadMs);
    });
    return this.#reading;
  }

  /** The next reading so long after the last one at the latest. */
  #schedule(afterMs: number): void {
    if (this.#isClosed || this.#readMs === null) return;
    const dueMs = this.#readMs + afterMs;
    if (this.#timer !== null && dueMs >= this.#dueMs) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#dueMs = dueMs;
    const waitMs = Math.max(0, dueMs - this.#env.clock.monotonicMs());
    this.#timer = setTimeout(() => void this.#reload(), waitMs).unref();
  }

  async #read(): Promise<void> {
    try {
      this.#stored = (await this.#table.readValid()).map(entryOf);
      await this.#touch();
      if (this.#isAway) this.#env.log('info', 'The tokens of the API can be read again', {});
      this.#isAway = false;
    } catch (err) {
      if (!this.#isAway && !this.#isClosed)
        this.#env.log('warn', 'The tokens of the API cannot be read: those that are known stay valid', {
          err,
        });
      this.#isAway = true;
    }
  }

  async #touch(): Promise<void> {
    const nowMs = this.#env.clock.monotonicMs();
    const due = [...this.#used].filter((id) => nowMs - (this.#touchedMs.get(id) ?? -Infinity) >= TOUCH_MS);
    this.#used.clear();
    if (due.length === 0) return;
    await this.#table.touch(due);
    const known = new Set(this.#stored.map(({ id }) => id));
    this.#touchedMs = new Map([...this.#touchedMs].filter(([id]) => known.has(id)));
    for (const id of due) this.#touchedMs.set(id, nowMs);
  }
}

function entryOf({ id, name, hash, scopes, expiresAt }: KnownToken): Entry {
  return {
    id,
    hash,
    principal: { name, scopes: new Set(SCOPES.filter((scope) => scopes.includes(scope))) },
    expiresAt,
  };
}

function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
