import type { Env } from '../../core/env.ts';
import { FillPlan, type FillEntry, type FillPlanLimits } from '../../core/ingest/fill-plan.ts';
import type { TickRange } from '../../core/ingest/ranges.ts';
import { backoffMs, type BackoffLimits } from '../../core/retry.ts';
import { WakeableWait } from '../../core/wait.ts';
import { FillPass, ServerDown, type FillCounts, type PassHost } from './pass.ts';
import { TickCaller, type CallLimits } from './by-calls.ts';
import { fillBySample, fillByStream } from './by-stream.ts';
import { FillReporter, type FillReport } from './report.ts';
import type { RangeStreamLimits } from './range-stream.ts';
import type { FetchedFrame } from './fetched-frames.ts';
import type { TickServer } from '../sequencer/connection.ts';

export interface FillLimits extends FillPlanLimits, CallLimits, RangeStreamLimits {
  /** ticks requested by calls before they go into the ring together; chunkBytes ends a chunk earlier */
  chunkTicks: number;
  /** a hole of more ticks than this is read from its own stream */
  longTicks: number;
  /** the connection is closed when nothing was missing for this long, ms */
  lingerMs: number;
  /** between two attempts at a sequencer that does not answer at all */
  backoff: BackoffLimits;
  /** the same, at one that limits us */
  limited: BackoffLimits;
}

export interface FillHost {
  /** Opens a separate connection; throws when it cannot be created. */
  connect(): TickServer;
  /** The lowest part of this range that is still missing: the stream may deliver ticks late. */
  missing(range: TickRange): TickRange | null;
  /** Puts frames into the ring, in order, as soon as there is capacity; one chunk at a time. */
  fill(chunk: readonly FetchedFrame[]): void;
  /** Whether the chunk is waiting for capacity. */
  filling(): boolean;
  report(report: FillReport): void;
}

/**
 * Fills gaps beside the live stream, on its own connection: the live one is discarded at every reconnect, and the
 * backlog of a paused stream would delay single answers.
 *
 * The lowest range that is due comes first. Short holes are requested by GetTick, a chunk at a time with several calls
 * in flight; a long one is read from a second stream. Frames from either go into the ring in runs. Numbers answered
 * with "not there" are requested again, and given up after missesMax answers if the sequencer's head is beyond them;
 * failures are retried without a limit. All state is kept per range: a hole of 2^62 ticks costs what a hole of one
 * costs.
 */
export class GapFiller {
  readonly #host: FillHost;
  readonly #limits: FillLimits;
  readonly #env: Env;
  readonly #reporter: FillReporter;
  readonly #caller: TickCaller;
  readonly counts: FillCounts = { found: 0, missing: 0, failed: 0, streams: 0 };
  #plan: FillPlan;
  #server: TickServer | null = null;
  #head = -1n;
  /** incremented at each start and stop: work of an earlier value is obsolete */
  #run = 0;
  #downAttempt = 0;
  #afterLong = false;
  readonly #pause = new WakeableWait();
  #turned: (() => void) | null = null;

  constructor(limits: FillLimits, env: Env, host: FillHost) {
    this.#limits = limits;
    this.#host = host;
    this.#env = env;
    this.#reporter = new FillReporter((report) => host.report(report));
    this.#caller = new TickCaller(limits);
    this.#plan = new FillPlan(limits, () => env.random());
  }

  /** Starts with these gaps; whatever was in flight is forgotten. */
  start(gaps: readonly TickRange[]): void {
    this.stop();
    this.#plan = new FillPlan(this.#limits, () => this.#env.random());
    for (const gap of gaps) this.#plan.add(gap);
    void this.#work(this.#run);
  }

  /** The stream left out more. */
  add(gaps: readonly TickRange[]): void {
    for (const gap of gaps) this.#plan.add(gap);
    this.#pause.wake();
  }

  stop(): void {
    this.#run += 1;
    this.#reporter.clear();
    this.#downAttempt = 0;
    this.#disconnect();
    this.#pause.wake();
    this.#turned?.();
  }

  /** Something was committed, or time has passed: the ring may have accepted the chunk. */
  turn(): void {
    if (!this.#host.filling()) this.#turned?.();
  }

  get #nowMs(): number {
    return this.#env.clock.monotonicMs();
  }

  async #work(run: number): Promise<void> {
    while (run === this.#run) {
      const entries = this.#takeDue();
      if (entries.length > 0) await this.#tryFilling(run, entries);
      else if (this.#plan.nextMs === null) {
        await this.#idleUntil(this.#nowMs + this.#limits.lingerMs);
        if (run !== this.#run || this.#plan.nextMs !== null) continue;
        this.#disconnect();
        await this.#idleUntil(Infinity);
      } else await this.#idleUntil(this.#plan.nextMs);
    }
  }

  async #tryFilling(run: number, entries: readonly FillEntry[]): Promise<void> {
    let pass: FillPass | null = null;
    const { found } = this.counts;
    try {
      pass = new FillPass(this.#passHost(run), this.#connect(), this.#head, entries);
      await this.#fill(pass);
      this.#head = pass.head;
      this.#downAttempt = 0;
      pass.end();
    } catch (error) {
      if (run !== this.#run) return;
      if (!(error instanceof ServerDown)) throw error;
      if (this.counts.found > found) this.#downAttempt = 0;
      for (const entry of pass === null ? entries : []) this.#plan.put(entry, entry, 0);
      await this.#serverDown(run, pass?.end()[0] ?? entries[0], error);
    }
  }

  /** When the server does not answer, the numbers lose time but no attempts. */
  async #serverDown(run: number, { first, last }: TickRange, down: ServerDown): Promise<void> {
    this.#disconnect();
    this.counts.failed += 1;
    const limits = down.isLimited ? this.#limits.limited : this.#limits.backoff;
    const waitMs = backoffMs(this.#downAttempt, limits, this.#env.random());
    const { message: error } = down;
    if (this.#downAttempt === 0) {
      const fields = { first_tick: first, last_tick: last, error, retry_ms: waitMs };
      this.#env.log('warn', 'Gaps cannot be filled now (will retry)', fields);
    }
    this.#downAttempt += 1;
    this.#reporter.tried({ first, last, error, waitMs });
    const untilMs = this.#nowMs + waitMs;
    while (run === this.#run && this.#nowMs < untilMs) await this.#idleUntil(untilMs);
  }

  /** The lowest ranges that are due; after a long one the short ones get their turn. */
  #takeDue(): FillEntry[] {
    const short = this.#afterLong ? this.#takeChunk(false) : [];
    this.#afterLong = false;
    return short.length > 0 ? short : this.#takeChunk(true);
  }

  /** The lowest range that is due; if it is short, more of them, up to a full chunk. */
  #takeChunk(mayBeLong: boolean): FillEntry[] {
    let ticks = 0;
    let hasLong = false;
    const due = this.#plan.take(this.#nowMs, (entry) => {
      if (hasLong || ticks >= this.#limits.chunkTicks) return 'stop';
      const isLong = this.#isLong(entry);
      if ((isLong && !mayBeLong) || (ticks > 0 && sizeOf(entry) > this.#limits.chunkTicks)) return 'leave';
      hasLong = isLong;
      ticks += sizeOf(entry);
      return 'take';
    });
    return due.flatMap((entry) => this.#stillMissing(entry));
  }

  /** Its lowest part that the stream has not delivered meanwhile; what lies beyond waits for another turn. */
  #stillMissing(entry: FillEntry): FillEntry[] {
    const part = this.#host.missing(entry);
    if (part === null) return [];
    if (part.last < entry.last) this.#plan.put({ first: part.last + 1n, last: entry.last }, entry, 0);
    return [{ ...entry, ...part }];
  }

  #isLong(entry: FillEntry): boolean {
    return entry.mode !== 'each' && sizeOf(entry) > this.#limits.longTicks;
  }

  async #fill(pass: FillPass): Promise<void> {
    const [entry] = pass.entries;
    if (pass.entries.some(({ last }) => last > pass.head)) await pass.askHead();
    for (const { first, last } of pass.entries) {
      const beyond = { first: first > pass.head ? first : pass.head + 1n, last };
      if (last > pass.head) pass.beyondHead(beyond);
    }
    const [lowest] = pass.openWithin(entry);
    this.#afterLong = this.#isLong(entry);
    if (!this.#afterLong) await this.#byCalls(pass);
    else if (lowest === undefined) return;
    else if (entry.mode === 'left_out') await fillBySample(pass, lowest, this.#caller);
    else await fillByStream(pass, lowest, this.#limits);
  }

  async #byCalls(pass: FillPass): Promise<void> {
    const ranges = firstTicks(
      pass.entries.flatMap((entry) => pass.openWithin(entry)),
      this.#limits.chunkTicks,
    );
    if (ranges.length === 0) return;
    const { frames, missing, failed, answered, limited } = await this.#caller.ask(pass.server, ranges);
    pass.check();
    this.counts.missing += Number(missing.count());
    this.counts.failed += failed.length;
    // GetStatus tells whether the numbers or the server are at fault
    if (!answered && limited === null) await pass.askHead();
    await pass.came(frames);
    for (const { number, error } of failed) pass.failed({ first: number, last: number }, error);
    await pass.notThere(missing.list());
    if (limited !== null) throw limited;
  }

  #passHost(run: number): PassHost {
    return {
      plan: this.#plan,
      reporter: this.#reporter,
      env: this.#env,
      counts: this.counts,
      isCurrent: () => run === this.#run,
      fill: (chunk) => this.#host.fill(chunk),
      filling: () => this.#host.filling(),
      turned: () =>
        new Promise((resolve) => {
          this.#turned = resolve;
        }),
    };
  }

  #connect(): TickServer {
    try {
      return (this.#server ??= this.#host.connect());
    } catch (error) {
      throw new ServerDown((error as Error).message);
    }
  }

  #disconnect(): void {
    this.#server?.close();
    this.#server = null;
    this.#head = -1n;
  }

  /** Or until a gap is added, or this run is over. */
  #idleUntil(untilMs: number): Promise<void> {
    return this.#pause.wait(Math.max(1, untilMs - this.#nowMs));
  }
}

/** Infinity when it exceeds Number.MAX_SAFE_INTEGER. */
function sizeOf({ first, last }: TickRange): number {
  const size = last - first + 1n;
  return size > BigInt(Number.MAX_SAFE_INTEGER) ? Infinity : Number(size);
}

/** The first `ticks` numbers of these ranges. */
function firstTicks(ranges: readonly TickRange[], ticks: number): TickRange[] {
  const taken: TickRange[] = [];
  let left = BigInt(ticks);
  for (const { first, last } of ranges) {
    if (left <= 0n) break;
    const end = first + left - 1n < last ? first + left - 1n : last;
    taken.push({ first, last: end });
    left -= end - first + 1n;
  }
  return taken;
}
