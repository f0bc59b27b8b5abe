import { contiguousPrefix, RangeSet, type TickRange } from '../core/ingest/ranges.ts';
import { INDEX_WORDS, type ChainAlarm, type ChainCheckMode } from '../core/copy/transcode.ts';
import type { BatchWrite } from '../store/batch.ts';
import type { LedgerState } from '../store/ledger.ts';
import { sampleAges } from './ages.ts';
import { CopyMemory } from './copy-memory.ts';
import type { SealedBatch } from './fill.ts';
import { isolate, type Isolated, type IsolatedTick } from './isolate.ts';
import type { ParsedBatch, ParseTask } from './parse.ts';
import { halves, rangeOf, wholePart, type Part } from './part.ts';
import type { Ring } from './ring.ts';
import type { Refusal, WriteOutcome } from './write.ts';

/** The threads, as the pipeline needs them. */
export interface PipelineThreads {
  parse(task: ParseTask): Promise<ParsedBatch>;
  /** How many batches can be written at once. */
  writers: number;
  /** unknown: an earlier attempt at this batch may have been committed */
  write(writer: number, batch: BatchWrite, unknown: boolean): Promise<WriteOutcome>;
  /** Tells the reader that a batch is done. */
  credit(): void;
}

export interface PipelineHost {
  nowMicros(): bigint;
  nowMs(): number;
  /** Records the first tick of a new chain; resolves with the origin that holds, null when the epoch has moved on. */
  recordOrigin(first: bigint, epoch: bigint): Promise<bigint | null>;
  /** Whether the brake lets so many more dead letters be written; it halts the run otherwise. */
  admit(deadLetters: number): boolean;
  committed(batch: CommittedBatch): void;
  /** the database refuses rows of a batch: it is written in smaller and smaller parts. Once for a batch. */
  refused(batch: RefusedBatch): void;
  fenced(epoch: bigint): void;
  parserFailed(error: Error): void;
}

export interface PipelineLimits {
  /** TICK_MAX_BYTES */
  tickBytesMax: number;
  /** CHAIN_CHECK */
  chainCheck: ChainCheckMode;
}

export interface RefusedBatch {
  range: TickRange | null;
  sqlstate: string;
  message: string;
}

/** One transaction: a sealed batch, or a part of one that the database refused as a whole. */
export interface CommittedBatch {
  range: TickRange | null;
  ticks: number;
  transactions: number;
  deadLetters: number;
  /** the tick of it that the database does not take; null nearly always */
  isolated: IsolatedTick | null;
  /** what the chain check found, but for the ends of the range */
  alarms: readonly ChainAlarm[];
  /** ticks whose link to the tick before is broken: those among `alarms`, and those at the ends of the range */
  linkBreaks: number;
  bytes: number;
  gaps: readonly TickRange[];
  fills: boolean;
  durationMs: number;
  ambiguous: number;
  resolved: boolean;
  /** stream → committed of a sample of its ticks, ms */
  latenciesMs: number[];
  /** timestamp of its last tick, µs since 1970 */
  lastTimestampMicros: bigint;
}

interface Job {
  batch: SealedBatch;
  /** what of it is not yet committed, in order; all fields below are about the first of them */
  parts: [Part, ...Part[]];
  /** null until parsed */
  parsed: ParsedBatch | null;
  /** in the place of a tick that the database refused */
  isolated: Isolated | null;
  /** its links at the ends of its range are to be compared with what is stored */
  checkLinks: boolean;
  writing: boolean;
  /** an attempt at it died with its writer */
  unknown: boolean;
  /** its dead letters are counted by the brake */
  isAdmitted: boolean;
}

const NOTHING_PRESENT = { ticks: 0, transactions: 0 };

/**
 * Takes sealed batches through parser and writer and frees their slabs: the part of the daemon that knows what is
 * under way, what is committed and where the position is. Runs on the main thread; a message a batch and thread.
 *
 * Order: batches are written by several writers at once and may commit in any order; the ledger, not the order, makes
 * the position. Only a batch that fills gaps waits until everything before it is committed (its gap is recorded by
 * then), and so does one whose first tick must be compared with a stored one; and nothing is written before the origin
 * is recorded.
 *
 * A batch whose rows the database refuses is cut in halves, parsed again from the ring and written part by part in its
 * order, down to single frames; one that is refused alone becomes a dead letter in the transaction that moves past it.
 * Its slab is free when all parts are committed. A bad tick among n costs about log n transactions more.
 */
export class Pipeline {
  readonly #ring: Ring;
  readonly #threads: PipelineThreads;
  readonly #host: PipelineHost;
  readonly #limits: PipelineLimits;
  /** in the order of sealing */
  readonly #jobs = new Set<Job>();
  readonly #idleWriters: number[] = [];
  readonly #memory: CopyMemory;
  #run: {
    epoch: bigint;
    origin: bigint | null;
    recorded: RangeSet;
    openGaps: RangeSet;
    ahead: RangeSet;
  } | null = null;
  #recordingOrigin = false;
  #settled: (() => void)[] = [];

  constructor(ring: Ring, threads: PipelineThreads, host: PipelineHost, limits: PipelineLimits) {
    this.#ring = ring;
    this.#threads = threads;
    this.#host = host;
    this.#limits = limits;
    this.#memory = new CopyMemory(threads.writers + 2);
    for (let writer = 0; writer < threads.writers; writer += 1) this.#idleWriters.push(writer);
  }

  /** A new run under this epoch, from what the store says. */
  start(epoch: bigint, ledger: Omit<LedgerState, 'brake'>): void {
    const recorded = new RangeSet([...ledger.storedAhead, ...ledger.openGaps, ...ledger.unfillable]);
    if (ledger.origin !== null && ledger.position !== null && ledger.position >= ledger.origin) {
      recorded.add({ first: ledger.origin, last: ledger.position });
    }
    this.#run = {
      epoch,
      origin: ledger.origin,
      recorded,
      openGaps: new RangeSet(ledger.openGaps),
      ahead: new RangeSet(ledger.storedAhead),
    };
  }

  /**
   * No batch is begun any more. Resolves when the ones at a writer have an outcome; everything else is forgotten and
   * its slabs are free.
   */
  async stop(): Promise<void> {
    this.#run = null;
    this.#forgetWaiting();
    await this.settled();
  }

  /** Resolves when nothing is under way. */
  async settled(): Promise<void> {
    if (this.#jobs.size === 0) return;
    await new Promise<void>((resolve) => void this.#settled.push(resolve));
  }

  /** Bytes of the frames in sealed batches. */
  get bytesUnderWay(): number {
    let bytes = 0;
    for (const { batch } of this.#jobs) bytes += batch.bytes;
    return bytes;
  }

  get position(): bigint | null {
    return this.#run === null || this.#run.origin === null
      ? null
      : contiguousPrefix(this.#run.origin, this.#run.recorded);
  }

  /** Below the lowest open gap. */
  get completeUpTo(): bigint | null {
    const position = this.position;
    const gap = this.#run?.openGaps.list()[0];
    return position === null || gap === undefined || gap.first > position ? position : gap.first - 1n;
  }

  get openGaps(): readonly TickRange[] {
    return this.#run?.openGaps.list() ?? [];
  }

  /** The store says so: not open any more. */
  gaveUp(range: TickRange): void {
    this.#run?.openGaps.remove(range);
  }

  /** Everything that is known to be recorded, gaps counted. */
  get recorded(): TickRange[] {
    return this.#run === null ? [] : this.#run.recorded.list().map((range) => ({ ...range }));
  }

  /** Whether what was received of this number is committed, or it lies below the origin. */
  isSettled(number: bigint): boolean {
    const run = this.#run;
    if (run === null || run.origin === null) return false;
    return number < run.origin || run.recorded.has(number);
  }

  get epoch(): bigint | null {
    return this.#run?.epoch ?? null;
  }

  /** Up to where no batch is under way: what may be merged in the ledger. */
  get quietUpTo(): bigint | null {
    let quiet = this.position;
    for (const { batch } of this.#jobs) {
      if (quiet !== null && batch.first <= quiet) quiet = batch.first - 1n;
    }
    return quiet;
  }

  /** A batch from the reader. */
  sealed(batch: SealedBatch): void {
    const job: Job = {
      batch,
      parts: [wholePart(batch)],
      parsed: null,
      isolated: null,
      checkLinks: false,
      writing: false,
      unknown: false,
      isAdmitted: false,
    };
    this.#jobs.add(job);
    if (this.#run === null) this.#forget(job);
    else void this.#parse(job);
  }

  async #parse(job: Job): Promise<void> {
    const { slab, side, previous } = job.batch;
    const [{ from, frames, first, ticks }] = job.parts;
    while (this.#isWanted(job)) {
      const memory = this.#memory.take();
      try {
        job.parsed = await this.#threads.parse({
          batch: { slab, side, from, frames, first, ticks, previous: from === 0 ? previous : null },
          memory,
          nowMicros: this.#host.nowMicros(),
          tickBytesMax: this.#limits.tickBytesMax,
          check: this.#limits.chainCheck,
        });
        job.checkLinks = this.#needsLinkCheck(job, job.parsed);
        this.#dispatch();
        return;
      } catch (error) {
        // the frames are still in the ring: a parser that died costs a second run
        this.#host.parserFailed(error as Error);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }

  #isWanted(job: Job): boolean {
    return this.#run !== null && this.#jobs.has(job);
  }

  #isRun(epoch: bigint): boolean {
    return this.#run?.epoch === epoch;
  }

  #dispatch(): void {
    const run = this.#run;
    if (run === null || this.#recordingOrigin) return;
    if (run.origin === null) {
      // the first in the order of sealing, parsed or not: a later batch may be parsed before it
      const first = [...this.#jobs].find((job) => job.batch.ticks > 0);
      if (first !== undefined) {
        void this.#recordOrigin(run.epoch, first.batch.first);
        return;
      }
    }
    let earlier = 0;
    for (const job of this.#jobs) {
      if (this.#idleWriters.length === 0) return;
      const blocked = (job.batch.fills || job.checkLinks) && earlier > 0;
      earlier += 1;
      if (job.parsed === null || job.writing || blocked) continue;
      const letters = job.isAdmitted ? 0 : job.parsed.deadLetters.length;
      if (letters > 0 && !this.#host.admit(letters)) return;
      job.isAdmitted = true;
      void this.#write(job, job.parsed, run.epoch, this.#idleWriters.shift()!);
    }
  }

  async #recordOrigin(epoch: bigint, first: bigint): Promise<void> {
    this.#recordingOrigin = true;
    try {
      const origin = await this.#host.recordOrigin(first, epoch);
      if (origin === null) this.#replaced(epoch);
      else if (this.#run?.epoch === epoch) this.#run.origin = origin;
    } catch {
      // the daemon is stopping
    } finally {
      this.#recordingOrigin = false;
    }
    this.#dispatch();
  }

  async #write(job: Job, parsed: ParsedBatch, epoch: bigint, writer: number): Promise<void> {
    const [part] = job.parts;
    job.writing = true;
    const write: BatchWrite = {
      epoch,
      range: rangeOf(part),
      ticks: parsed.ticks,
      transactions: parsed.transactions,
      present: job.isolated?.present ?? NOTHING_PRESENT,
      gaps: part.gaps,
      fills: job.batch.fills,
      deadLetters: parsed.deadLetters,
      alarms: parsed.alarms,
      checkLinks: job.checkLinks,
      copy: parsed.copy,
    };
    try {
      const outcome = await this.#threads.write(writer, write, job.unknown);
      this.#idleWriters.push(writer);
      this.#finished(job, parsed, write, outcome);
    } catch {
      // the writer thread died; whether it had committed is for the next one to find out, with the same bytes
      this.#idleWriters.push(writer);
      job.writing = false;
      job.unknown = true;
      if (this.#isRun(epoch)) this.#dispatch();
      else this.#forget(job);
    }
  }

  #finished(job: Job, parsed: ParsedBatch, write: BatchWrite, outcome: WriteOutcome): void {
    const [part] = job.parts;
    const { isolated } = job;
    const latenciesMs =
      outcome.kind === 'committed' ? sampleAges(this.#ring, job.batch, part, this.#host.nowMs()) : [];
    this.#memory.recycle(write.copy);
    Object.assign(job, { parsed: null, isolated: null, checkLinks: false, writing: false, unknown: false });
    if (outcome.kind === 'refused' && this.#isRun(write.epoch)) this.#split(job, outcome);
    else if (outcome.kind === 'committed') this.#next(job, write.epoch);
    else this.#forget(job);
    if (outcome.kind === 'fenced') this.#replaced(write.epoch);
    if (outcome.kind === 'committed') {
      this.#book(write);
      this.#host.committed({
        range: write.range,
        ticks: write.ticks,
        transactions: write.transactions,
        deadLetters: write.deadLetters.length,
        isolated: isolated?.isolated ?? null,
        alarms: write.alarms,
        linkBreaks: parsed.linkBreaks + outcome.brokenLinks.length,
        bytes: part.bytes,
        gaps: write.gaps,
        fills: write.fills,
        durationMs: outcome.durationMs,
        ambiguous: outcome.ambiguous,
        resolved: outcome.resolved,
        latenciesMs,
        lastTimestampMicros: parsed.lastTimestampMicros,
      });
    }
    this.#dispatch();
  }

  /** The first part is committed. */
  #next(job: Job, epoch: bigint): void {
    const [, next, ...rest] = job.parts;
    if (next === undefined || !this.#isRun(epoch)) {
      this.#forget(job);
      return;
    }
    job.parts = [next, ...rest];
    // the brake has counted the frames of all parts with the whole
    job.isAdmitted = true;
    void this.#parse(job);
  }

  /** The first part is refused: its halves take its place, and a single frame what stands for it. */
  #split(job: Job, refusal: Refusal): void {
    const { slab, side } = job.batch;
    const [part, ...rest] = job.parts;
    if (part.frames === job.batch.frames)
      this.#host.refused({ range: rangeOf(part), sqlstate: refusal.sqlstate, message: refusal.message });
    if (slab !== null && part.frames > 1) {
      job.parts = [...halves(part, this.#ring.slab(slab).index), ...rest];
      void this.#parse(job);
      return;
    }
    const frame = slab === null ? side! : this.#frame(slab, part.from);
    job.isolated = isolate(part.first, frame, refusal);
    job.parsed = job.isolated.parsed;
    job.isAdmitted = false;
    job.checkLinks = job.isolated.present.ticks > 0 && this.#limits.chainCheck !== 'off';
  }

  /** A copy of its bytes. */
  #frame(slab: number, frame: number): Uint8Array<ArrayBuffer> {
    const { index, bytes } = this.#ring.slab(slab);
    const offset = index[frame * INDEX_WORDS];
    return Uint8Array.from(bytes.subarray(offset, offset + index[frame * INDEX_WORDS + 1]));
  }

  /**
   * The parser compared each tick with the one before it in the same part. At the ends of the range the store is asked
   * where nobody else has compared: where the parser did not know the tick before, or found it to be another one (it may
   * not even be stored), and below what an earlier run has left. Whoever comes later of two neighbours asks.
   */
  #needsLinkCheck(job: Job, { boundary, ticks }: ParsedBatch): boolean {
    const run = this.#run;
    const [part] = job.parts;
    if (run === null || this.#limits.chainCheck === 'off' || ticks === 0) return false;
    if (job.batch.fills || boundary === 'broken') return true;
    const before = part.first - 1n;
    const isGap = part.gaps.some(({ first, last }) => first <= before && before <= last);
    const isOrigin = run.origin === null || part.first <= run.origin;
    return (boundary === 'unknown' && !isGap && !isOrigin) || run.ahead.has(part.first + BigInt(part.ticks));
  }

  #book({ range, gaps, fills, epoch }: BatchWrite): void {
    const run = this.#run;
    if (run === null || run.epoch !== epoch) return;
    for (const gap of gaps) {
      run.openGaps.add(gap);
      run.recorded.add(gap);
    }
    if (range === null) return;
    run.recorded.add(range);
    if (fills) run.openGaps.remove(range);
  }

  /** Another daemon has raised the epoch: this run is over, and nothing more of it can be written. */
  #replaced(epoch: bigint): void {
    if (this.#run?.epoch === epoch) {
      this.#run = null;
      this.#forgetWaiting();
    }
    this.#host.fenced(epoch);
  }

  #forgetWaiting(): void {
    for (const job of Array.from(this.#jobs)) if (!job.writing) this.#forget(job);
  }

  /** The slab is free, its ticks are no longer held. */
  #forget(job: Job): void {
    const { batch } = job;
    if (!this.#jobs.delete(job)) return;
    if (batch.slab !== null) this.#ring.free(batch.slab);
    this.#ring.addHeldTicks(-batch.ticks);
    this.#ring.addInFlight(-1);
    this.#threads.credit();
    if (this.#jobs.size > 0) return;
    for (const resolve of this.#settled.splice(0)) resolve();
  }
}
