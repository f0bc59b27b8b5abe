import type { TickRange } from '../../core/ingest/ranges.ts';
import type { ChainCheckMode } from '../../core/copy/transcode.ts';
import type { BatchWrite } from '../../store/chain/batch.ts';
import type { LedgerState } from '../../store/chain/ledger.ts';
import { sampleAges } from './ages.ts';
import { batchWrite, committedBatch, type CommittedBatch } from './commit.ts';
import { CopyMemory } from '../parser/copy-buffers.ts';
import type { SealedBatch } from '../reader/batch-builder.ts';
import { needsLinkCheck, resetJob, type Job } from './job.ts';
import { Jobs } from './in-flight.ts';
import type { ParsedBatch, ParseTask } from '../parser/parse.ts';
import { Recorded } from './progress.ts';
import { halve, isolateFrame, refusedBatch, type RefusedBatch } from './refused.ts';
import type { Ring } from '../ring.ts';
import type { Refusal, WriteOutcome } from '../writer/batch-writer.ts';

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
  readonly #jobs: Jobs;
  readonly #idleWriters: number[] = [];
  readonly #memory: CopyMemory;
  #run: Recorded | null = null;
  #recordingOrigin = false;

  constructor(ring: Ring, threads: PipelineThreads, host: PipelineHost, limits: PipelineLimits) {
    this.#ring = ring;
    this.#threads = threads;
    this.#host = host;
    this.#limits = limits;
    this.#jobs = new Jobs(ring, () => threads.credit());
    this.#memory = new CopyMemory(threads.writers + 2);
    for (let writer = 0; writer < threads.writers; writer += 1) this.#idleWriters.push(writer);
  }

  /** A new run under this epoch, from what the store says. */
  start(epoch: bigint, ledger: Omit<LedgerState, 'brake'>): void {
    this.#run = new Recorded(epoch, ledger);
  }

  /**
   * No batch is begun any more. Resolves when the ones at a writer have an outcome; everything else is forgotten and
   * its slabs are free.
   */
  async stop(): Promise<void> {
    this.#run = null;
    this.#jobs.forgetWaiting();
    await this.settled();
  }

  /** Resolves when nothing is under way. */
  settled(): Promise<void> {
    return this.#jobs.settled();
  }

  /** Bytes of the frames in sealed batches. */
  get bytesUnderWay(): number {
    return this.#jobs.bytes;
  }

  get position(): bigint | null {
    return this.#run?.position ?? null;
  }

  /** Below the lowest open gap. */
  get completeUpTo(): bigint | null {
    return this.#run?.completeUpTo ?? null;
  }

  get openGaps(): readonly TickRange[] {
    return this.#run?.openGaps ?? [];
  }

  /** The store says so: not open any more. */
  gaveUp(range: TickRange): void {
    this.#run?.gaveUp(range);
  }

  /** Everything that is known to be recorded, gaps counted. */
  get recorded(): TickRange[] {
    return this.#run?.list() ?? [];
  }

  /** Whether what was received of this number is committed, or it lies below the origin. */
  isSettled(number: bigint): boolean {
    return this.#run?.isSettled(number) ?? false;
  }

  get epoch(): bigint | null {
    return this.#run?.epoch ?? null;
  }

  /** Up to where no batch is under way: what may be merged in the ledger. */
  get quietUpTo(): bigint | null {
    return this.#jobs.quietUpTo(this.position);
  }

  /** A batch from the reader. */
  sealed(batch: SealedBatch): void {
    const job = this.#jobs.add(batch);
    if (this.#run === null) this.#jobs.forget(job);
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
        job.checkLinks =
          this.#checksLinks && this.#run !== null && needsLinkCheck(job, job.parsed, this.#run);
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

  get #checksLinks(): boolean {
    return this.#limits.chainCheck !== 'off';
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
    job.writing = true;
    const write = batchWrite(job, parsed, epoch);
    let outcome: WriteOutcome;
    try {
      outcome = await this.#threads.write(writer, write, job.unknown);
    } catch {
      // the writer thread died; whether it had committed is for the next one to find out, with the same bytes
      this.#idleWriters.push(writer);
      job.writing = false;
      job.unknown = true;
      if (this.#isRun(epoch)) this.#dispatch();
      else this.#jobs.forget(job);
      return;
    }
    this.#idleWriters.push(writer);
    this.#finished(job, parsed, write, outcome);
  }

  #finished(job: Job, parsed: ParsedBatch, write: BatchWrite, outcome: WriteOutcome): void {
    const { epoch } = write;
    const committed =
      outcome.kind === 'committed'
        ? committedBatch(job, parsed, write, outcome, sampleAges(this.#ring, job, this.#host.nowMs()))
        : null;
    this.#memory.recycle(write.copy);
    resetJob(job);
    if (outcome.kind === 'refused' && this.#isRun(epoch)) this.#split(job, outcome);
    else if (outcome.kind === 'committed') this.#next(job, epoch);
    else this.#jobs.forget(job);
    if (outcome.kind === 'fenced') this.#replaced(epoch);
    if (committed !== null) {
      if (this.#isRun(epoch)) this.#run?.book(write);
      this.#host.committed(committed);
    }
    this.#dispatch();
  }

  /** The first part is committed. */
  #next(job: Job, epoch: bigint): void {
    const [, next, ...rest] = job.parts;
    if (next === undefined || !this.#isRun(epoch)) {
      this.#jobs.forget(job);
      return;
    }
    job.parts = [next, ...rest];
    // the brake has counted the frames of all parts with the whole
    job.isAdmitted = true;
    void this.#parse(job);
  }

  /** The first part is refused: its halves take its place, and a single frame what stands for it. */
  #split(job: Job, refusal: Refusal): void {
    const whole = refusedBatch(job, refusal);
    if (whole !== null) this.#host.refused(whole);
    if (halve(job, this.#ring)) {
      void this.#parse(job);
      return;
    }
    const { present } = isolateFrame(job, refusal, this.#ring);
    job.checkLinks = this.#checksLinks && present.ticks > 0;
  }

  /** Another daemon has raised the epoch: this run is over, and nothing more of it can be written. */
  #replaced(epoch: bigint): void {
    if (this.#run?.epoch === epoch) {
      this.#run = null;
      this.#jobs.forgetWaiting();
    }
    this.#host.fenced(epoch);
  }
}
