import type { Client } from 'pg';
import { partitionOf } from '../../core/bus/partitions.ts';
import type { Clock } from '../../core/time.ts';
import type { LatePolicy } from '../../core/window/rules.ts';
import { windowEndUs, windowStartUs } from '../../core/window/rollup.ts';
import {
  closedEndOf,
  lockRun,
  nextTickUs,
  rebuildRange,
  symbolsWithTicks,
  type Rebuilt,
} from '../../store/bars/rebuild.ts';
import type { JobRunTracker } from '../../store/job-runs.ts';

export interface RebuildOptions {
  /** a session of its own */
  client: Client;
  jobRuns: JobRunTracker;
  clock: Clock;
  /** of the micro-batcher, whose windows and symbols they are */
  topic: string;
  group: string;
  partitions: number;
  windowMs: number;
  late: LatePolicy;
  /** windows of symbols that the group never saw are closed after this, ms */
  idleTimeoutMs: number;
  provider: string;
  /** null: all that have ticks in the range */
  symbols: readonly string[] | null;
  /** µs since 1970; windows that hold an instant of [startUs, endUs) */
  startUs: number;
  endUs: number;
  /** begin anew, although a run of the same arguments was interrupted */
  anew: boolean;
  /** days of symbols, with fractions */
  onProgress: (done: number, total: number) => void;
  /** ends the run after what is being written: it can be resumed */
  stopping: AbortSignal;
}

export interface RebuildReport extends Rebuilt {
  runId: number;
  resumed: boolean;
  symbols: readonly string[];
  /** symbols whose windows from this time on are still open, or not yet read, µs */
  openFromUs: ReadonlyMap<string, number>;
}

/** Stopped, or another process is at it; the message says what to do. */
export class RebuildError extends Error {
  override name = 'RebuildError';
}

const DAY_MS = 86_400_000;
const DAY_US = DAY_MS * 1000;
const HEARTBEAT_MS = 5_000;

/** As it is kept in the row of the run: everything before it is done. */
interface Position {
  symbol: string;
  us: number;
}

/**
 * Makes final bars from tick_data for a range, day by day of each symbol, and notes in the row of the run how far it is: a
 * run that was interrupted goes on there when it is started again with the same arguments. Windows that the micro-batcher
 * has not closed are left to it.
 */
export class BarsRebuild {
  readonly #options: RebuildOptions;
  readonly #totals: Rebuilt = { ticks: 0, windows: 0, made: 0, revised: 0, kept: 0 };
  readonly #openFromUs = new Map<string, number>();
  #runId = 0;
  #position: Position | null = null;
  #minUs: number | null = null;
  #maxUs: number | null = null;
  #beatMs = -Infinity;

  constructor(options: RebuildOptions) {
    this.#options = options;
  }

  /** Rejects with RebuildError, or the server's error. */
  async run(): Promise<RebuildReport> {
    const { client, jobRuns, provider, startUs, endUs } = this.#options;
    const resumed = await this.#begin();
    try {
      const symbols = this.#options.symbols ?? (await symbolsWithTicks(client, provider, startUs, endUs));
      for (const [at, symbol] of symbols.entries()) await this.#symbol(symbol, at, symbols.length);
      await this.#progress();
      await jobRuns.finish(this.#runId, 'success', null);
      return { ...this.#totals, runId: this.#runId, resumed, symbols, openFromUs: this.#openFromUs };
    } catch (error) {
      const status = error instanceof RebuildError ? 'paused' : 'failed';
      await jobRuns.finish(this.#runId, status, (error as Error).message).catch(() => {});
      throw error;
    }
  }

  /** True: an earlier run goes on. */
  async #begin(): Promise<boolean> {
    const { client, jobRuns, provider, symbols, windowMs, startUs, endUs, topic, group } = this.#options;
    const range = { topic, group, provider, symbols, window_ms: windowMs, start_us: startUs, end_us: endUs };
    const key = JSON.stringify(range);
    const earlier = this.#options.anew ? null : await jobRuns.unfinished('bars_rebuild', key);
    const metadata = { ...range, key };
    this.#runId =
      earlier?.id ?? (await jobRuns.start({ jobName: 'bars_rebuild', provider, symbols, metadata }));
    if (!(await lockRun(client, this.#runId)))
      throw new RebuildError(`run ${this.#runId} with the same arguments is at it: wait for its end`);
    if (earlier === null) return false;
    await jobRuns.resume(this.#runId);
    const { position, totals } = earlier.metadata as { position?: Position; totals?: Rebuilt };
    this.#position = position ?? null;
    Object.assign(this.#totals, totals);
    return true;
  }

  async #symbol(symbol: string, index: number, symbols: number): Promise<void> {
    const { client, topic, group, partitions, provider, windowMs, onProgress } = this.#options;
    const startUs = windowStartUs(this.#options.startUs, windowMs);
    const days = Math.max(1, Math.ceil((this.#options.endUs - startUs) / DAY_US));
    const report = (us: number): void =>
      onProgress(index * days + Math.min(days, Math.max(0, us - startUs) / DAY_US), symbols * days);
    report(startUs);
    const done = this.#position;
    if (done !== null && order(symbol, done.symbol) < 0) return;
    const closedEndUs = await this.#closedEndUs(symbol);
    const endUs = Math.min(
      windowEndUs(windowStartUs(this.#options.endUs - 1, windowMs), windowMs),
      closedEndUs,
    );
    if (endUs < this.#options.endUs) this.#openFromUs.set(symbol, endUs);
    let atUs = done?.symbol === symbol ? done.us : startUs;
    while (atUs < endUs) {
      if (this.#options.stopping.aborted)
        throw new RebuildError('stopped; the same command goes on from here');
      const series = { provider, symbol };
      const nextUs = await nextTickUs(client, { ...series, startUs: atUs, endUs });
      if (nextUs === null) break;
      const fromUs = Math.max(atUs, windowStartUs(nextUs, windowMs));
      atUs = Math.min(windowEndUs(windowStartUs(fromUs, DAY_MS), DAY_MS), endUs);
      const place = { name: { topic, group }, partition: partitionOf(symbol, partitions), windowMs };
      const range = { ...series, startUs: fromUs, endUs: atUs };
      const rebuilt = await rebuildRange(client, place, range, closedEndUs, (upToUs) => {
        report(upToUs);
        this.#beat();
      });
      await this.#did(rebuilt, symbol, fromUs, atUs);
      report(atUs);
    }
  }

  /** Windows before it are closed, and made by nobody else. */
  async #closedEndUs(symbol: string): Promise<number> {
    const { client, clock, topic, group, provider, windowMs, late, idleTimeoutMs } = this.#options;
    const known = await closedEndOf(client, { topic, group }, provider, symbol);
    const idleUs = Number(clock.nowMicros()) - idleTimeoutMs * 1000;
    const closedUs = windowStartUs(known ?? idleUs, windowMs);
    // the rollups of an open day are in the memory of the micro-batcher, which corrects them under `revise` alone
    return late === 'revise' ? closedUs : windowStartUs(closedUs, DAY_MS);
  }

  async #did(rebuilt: Rebuilt, symbol: string, fromUs: number, toUs: number): Promise<void> {
    for (const name of Object.keys(rebuilt) as (keyof Rebuilt)[]) this.#totals[name] += rebuilt[name];
    this.#minUs = Math.min(this.#minUs ?? Infinity, fromUs);
    this.#maxUs = Math.max(this.#maxUs ?? -Infinity, toUs);
    this.#position = { symbol, us: toUs };
    await this.#options.jobRuns.note(this.#runId, { position: this.#position, totals: this.#totals });
    await this.#progress();
  }

  #beat(): void {
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs - this.#beatMs < HEARTBEAT_MS) return;
    this.#beatMs = nowMs;
    this.#progress().catch(() => {}); // the next one says so
  }

  #progress(): Promise<void> {
    const { made, revised } = this.#totals;
    return this.#options.jobRuns.progress(this.#runId, {
      rowsWritten: made + revised,
      minTs: this.#minUs === null ? null : BigInt(this.#minUs),
      maxTs: this.#maxUs === null ? null : BigInt(this.#maxUs),
    });
  }
}

/** As the database orders them: by their bytes. */
export function order(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
