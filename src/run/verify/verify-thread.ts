import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import { explainHoles } from '../../core/chain/verify/holes.ts';
import { TickPage } from '../../core/chain/tick-page.ts';
import {
  addMissing,
  emptyReport,
  verifyPage,
  type VdfMode,
  type VerifyReport,
} from '../../core/chain/verify/page.ts';
import type { VerifyTask } from '../../core/chain/verify/plan.ts';
import type { TickRange } from '../../core/ingest/ranges.ts';
import type { Env } from '../../core/env.ts';
import { backoffMs, storeVerdict } from '../../core/retry.ts';
import { connect, ConnectError, parseDatabaseUrl } from '../../store/postgres/connect.ts';
import { destroy } from '../../store/postgres/session.ts';
import { sqlstateOf } from '../../store/postgres/sqlstate.ts';
import { CopyTooLargeError } from '../../store/postgres/copy-out.ts';
import { TickPages } from '../../store/chain/tick-pages.ts';
import { TickChunks } from '../../store/chunks/tick-chunks.ts';

export type VerifierEnv = Pick<Env, 'clock' | 'random'>;

/** workerData of a verifier thread. */
export interface VerifierSetup {
  /** name of the BroadcastChannel on which 'stop' asks to close the sessions, and each thread answers with its id */
  stopChannel: string;
  databaseUrl: string;
  applicationName: string;
  vdf: VdfMode;
  /** a number beyond it that is not stored was not received yet; null: unknown */
  position: string | null;
}

/** What the pool's task resolves with. */
export interface FromVerifier {
  outcome: VerifyOutcome;
  threadId: number;
}

export type VerifyOutcome =
  /** bytes and ms: what the page cost; nextStored: of an empty page, where the next tick is, null when none follows */
  | {
      kind: 'page';
      report: VerifyReport;
      bytes: number;
      ms: number;
      empty: { nextStored: bigint | null } | null;
    }
  | { kind: 'hole'; report: VerifyReport }
  /** a page that must be asked for in parts */
  | { kind: 'too_large' }
  /** a hole that has ticks by now */
  | { kind: 'no_hole' };

/** A page of more than one tick is split above this. */
const PAGE_BYTES_MAX = 64 * 2 ** 20;
/** For a single tick: the store itself cannot hold much more. */
const TICK_BYTES_MAX = 2 ** 30 - 1;

/** out_of_memory, which is also what a server says that has no room for another lock */
const OUT_OF_LOCKS = '53200';

/** Reads are retried when the connection failed or the server ended it, as a lagging standby does. */
const ATTEMPTS_MAX = 6;
const BACKOFF = { firstMs: 200, maxMs: 5_000 };

/** What a verifier thread holds. Concurrent tasks have a session each. */
export class Verifiers {
  readonly #setup: VerifierSetup;
  readonly #env: VerifierEnv;
  readonly #idle: Verifier[] = [];
  readonly #all: Verifier[] = [];
  /** of all sessions of this thread; null: not asked for yet, or in vain */
  #chunks: Promise<TickChunks> | null = null;

  constructor(setup: VerifierSetup, env: VerifierEnv) {
    this.#setup = setup;
    this.#env = env;
  }

  /** Rejects when the store cannot be read, in one line for the operator. */
  async verify(task: VerifyTask): Promise<VerifyOutcome> {
    let verifier = this.#idle.pop();
    if (verifier === undefined) {
      verifier = new Verifier(this.#setup, this.#env, (client) => this.#chunksOf(client));
      this.#all.push(verifier);
    }
    try {
      return await verifier.verify(task);
    } catch (error) {
      const { message, code } = error as Error & { code?: string };
      const where = `${task.first} to ${task.last}`;
      throw new Error(`ticks ${where} cannot be read: ${message} (${code ?? 'no SQLSTATE'})`, {
        cause: error,
      });
    } finally {
      this.#idle.push(verifier);
    }
  }

  #chunksOf(client: Client): Promise<TickChunks> {
    if (this.#chunks === null) {
      const reading = TickChunks.read(client);
      reading.catch(() => (this.#chunks = null));
      this.#chunks = reading;
    }
    return this.#chunks;
  }

  async close(): Promise<void> {
    await Promise.all(this.#all.map((verifier) => verifier.close()));
  }
}

/** One session and the memory of one page. */
class Verifier {
  readonly #setup: VerifierSetup;
  readonly #env: VerifierEnv;
  readonly #page = new TickPage();
  readonly #chunks: (client: Client) => Promise<TickChunks>;
  #session: { client: Client; pages: TickPages } | null = null;

  constructor(setup: VerifierSetup, env: VerifierEnv, chunks: (client: Client) => Promise<TickChunks>) {
    this.#setup = setup;
    this.#env = env;
    this.#chunks = chunks;
  }

  async verify(task: VerifyTask): Promise<VerifyOutcome> {
    for (let attempt = 0; ; attempt++) {
      try {
        return task.kind === 'page' ? await this.#verifyPage(task) : await this.#verifyHole(task);
      } catch (error) {
        this.#drop();
        const isTooLarge = error instanceof CopyTooLargeError || sqlstateOf(error) === OUT_OF_LOCKS;
        if (isTooLarge && task.first !== task.last) return { kind: 'too_large' };
        if (!isPassing(error) || attempt + 1 >= ATTEMPTS_MAX) throw error;
        await delay(backoffMs(attempt, BACKOFF, this.#env.random()));
      }
    }
  }

  async close(): Promise<void> {
    await this.#session?.client.end().catch(() => {});
    this.#session = null;
  }

  async #verifyPage(task: VerifyTask): Promise<VerifyOutcome> {
    const pages = await this.#pages();
    if (task.first !== task.last && pages.isTooWide(task)) return { kind: 'too_large' };
    const bytesMax = task.first === task.last ? TICK_BYTES_MAX : PAGE_BYTES_MAX;
    const page = this.#page;
    const beganMs = this.#env.clock.monotonicMs();
    page.load(task, await pages.begin(task, bytesMax));
    const holes = page.missing();
    // it may have risen since the run began
    const floor = await pages.floor();
    const missing = notBelow(holes, floor);
    const explained =
      missing.length === 0 ? [] : explainHoles(missing, await pages.holes(task, this.#position()));
    const isEmpty = holes.length === 1 && holes[0].first === task.first && holes[0].last === task.last;
    const empty = isEmpty ? { nextStored: await pages.nextStored(task.last + 1n) } : null;
    await pages.done();
    const report = verifyPage(page, this.#setup.vdf, floor);
    addMissing(report, explained);
    return { kind: 'page', report, bytes: pages.bytes, ms: this.#env.clock.monotonicMs() - beganMs, empty };
  }

  async #verifyHole(task: VerifyTask): Promise<VerifyOutcome> {
    const pages = await this.#pages();
    await pages.beginEmpty();
    const next = await pages.nextStored(task.first);
    if (next !== null && next <= task.last) {
      await pages.done();
      return { kind: 'no_hole' };
    }
    const missing = notBelow([task], await pages.floor());
    const explained = explainHoles(missing, await pages.holes(task, this.#position()));
    await pages.done();
    const report = emptyReport();
    addMissing(report, explained);
    return { kind: 'hole', report };
  }

  #position(): bigint | null {
    const { position } = this.#setup;
    return position === null ? null : BigInt(position);
  }

  async #pages(): Promise<TickPages> {
    if (this.#session === null) {
      const { databaseUrl, applicationName } = this.#setup;
      const client = await connect(parseDatabaseUrl(databaseUrl), { applicationName });
      try {
        this.#session = { client, pages: new TickPages(client, await this.#chunks(client)) };
      } catch (error) {
        destroy(client);
        throw error;
      }
    }
    return this.#session.pages;
  }

  #drop(): void {
    if (this.#session !== null) destroy(this.#session.client);
    this.#session = null;
  }
}

/** What retention has dropped is not missing. */
function notBelow(ranges: readonly TickRange[], floor: bigint): TickRange[] {
  return ranges
    .filter(({ last }) => last >= floor)
    .map(({ first, last }) => ({ first: first < floor ? floor : first, last }));
}

/** Whether a retry may succeed. */
function isPassing(error: unknown): boolean {
  if (error instanceof ConnectError) return error.kind === 'unreachable';
  // ours, not the store's
  if (error instanceof CopyTooLargeError || error instanceof RangeError || error instanceof TypeError)
    return false;
  return storeVerdict(sqlstateOf(error)) === 'retry';
}
