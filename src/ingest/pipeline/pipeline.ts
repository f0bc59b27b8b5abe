import type { Env } from '../../core/env.ts';
import { BatchGrowth } from '../../core/ingest/batch-growth.ts';
import type { BatchWrite } from '../../store/chain/batch.ts';
import type { LedgerState } from '../../store/chain/ledger.ts';
import { batchWrite, committedBatch, sampleAges } from './commit.ts';
import { setTimeout as delay } from 'node:timers/promises';
import { CopyMemory } from '../parser/copy-buffers.ts';
import { FreeWriters } from './free-writers.ts';
import type { IngestObserver } from '../observer.ts';
import type { PipelineHost, PipelineLimits, PipelineThreads } from './host.ts';
import type { SealedBatch } from '../reader/batch-builder.ts';
import {
  attemptAt,
  halve,
  InFlightBatches,
  isolateFrame,
  isTooLarge,
  needsLinkCheck,
  putBehind,
  refusedBatch,
  resetFirstPart,
  type InFlightBatch,
} from './in-flight.ts';
import type { ParsedBatch } from '../parser/parse.ts';
import { RunProgress } from './progress.ts';
import type { Ring } from '../ring.ts';
import type { BatchOutcome, LateBatch } from '../writer/outcome.ts';
import type { Refusal } from '../writer/refusal.ts';

/** Delay before a batch is retried while the parser that died is being replaced, ms. */
const PARSE_AGAIN_MS = 100;

/**
 * Takes sealed batches through parser and writer and frees their slabs: the part of the daemon that knows what is in
 * flight, what is committed and where the position is. Runs on the main thread; one message per batch and thread.
 *
 * Order: several writers write batches at once and may commit in any order; the ledger, not the order, determines the
 * position. Only a batch that fills gaps waits until everything before it is committed (its gap is recorded by then),
 * as does one whose first tick must be compared with a stored one; and nothing is written before the origin is
 * recorded.
 *
 * A batch whose rows the database refuses is cut in halves, parsed again from the ring and written part by part in
 * order, down to single frames; one that is refused alone, while others pass, becomes a dead letter in the transaction that
 * moves past it; while nothing is stored that could pass, the other parts go first.
 * Its slab is freed when all parts are committed. A bad tick among n costs about 2·log₂ n extra transactions.
 *
 * A batch that the database does not answer in time is cut as well, and until smaller ones are quick again so are the others.
 */
export class Pipeline {
  readonly #ring: Ring;
  readonly #threads: PipelineThreads;
  readonly #env: Env;
  readonly #observer: Pick<IngestObserver, 'committed'>;
  readonly #host: PipelineHost;
  readonly #limits: PipelineLimits;
  readonly #batches: InFlightBatches;
  readonly #growth: BatchGrowth;
  readonly #writers: FreeWriters;
  readonly #memory: CopyMemory;
  #run: RunProgress | null = null;
  #recordingOrigin = false;

  constructor(
    ring: Ring,
    threads: PipelineThreads,
    limits: PipelineLimits,
    env: Env,
    observer: Pick<IngestObserver, 'committed'>,
    host: PipelineHost,
  ) {
    this.#ring = ring;
    this.#threads = threads;
    this.#env = env;
    this.#observer = observer;
    this.#host = host;
    this.#limits = limits;
    this.#growth = new BatchGrowth(ring.geometry.framesMax, limits.answerMs);
    this.#batches = new InFlightBatches(ring, () => threads.credit());
    this.#memory = new CopyMemory(threads.writers + 2);
    this.#writers = new FreeWriters(threads, env, () => this.#dispatch());
  }

  /** A new run under this epoch, starting from what is stored. */
  start(epoch: bigint, ledger: Omit<LedgerState, 'brake'>): void {
    this.#run = new RunProgress(epoch, ledger);
  }

  /**
   * No further batch is started. Resolves when those at a writer have an outcome; everything else is forgotten and its
   * slabs are freed.
   */
  async stop(): Promise<void> {
    this.#run = null;
    this.#batches.forgetWaiting();
    await this.settled();
  }

  /** Resolves when nothing is in flight. */
  settled(): Promise<void> {
    return this.#batches.settled();
  }

  /** How many are connected; other sessions of the daemon connect before them. */
  get writers(): Pick<FreeWriters, 'connected' | 'idleLost' | 'before'> {
    return this.#writers;
  }

  /** Bytes of the frames in sealed batches. */
  get bytesUnderWay(): number {
    return this.#batches.bytes;
  }

  /** What the run has recorded; null while there is none. */
  get progress(): RunProgress | null {
    return this.#run;
  }

  /** Up to where no batch is in flight: what may be merged in the ledger. */
  get quietUpTo(): bigint | null {
    return this.#batches.quietUpTo(this.#run?.position ?? null);
  }

  /** A batch from the reader. */
  sealed(batch: SealedBatch): void {
    const inFlight = this.#batches.add(batch);
    if (this.#run === null) this.#batches.forget(inFlight);
    else void this.#parse(inFlight);
  }

  async #parse(inFlight: InFlightBatch): Promise<void> {
    const { slab, side, previous } = inFlight.batch;
    while (isTooLarge(inFlight, this.#growth.limit)) halve(inFlight, this.#ring);
    const [{ from, frames, first, ticks }] = inFlight.parts;
    while (this.#isWanted(inFlight)) {
      const memory = this.#memory.take();
      try {
        inFlight.parsed = await this.#threads.parse({
          batch: { slab, side, from, frames, first, ticks, previous: from === 0 ? previous : null },
          memory,
          nowMicros: this.#limits.nowMicros(),
          tickBytesMax: this.#limits.tickBytesMax,
          check: this.#limits.chainCheck,
        });
        inFlight.checkLinks =
          this.#checksLinks && this.#run !== null && needsLinkCheck(inFlight, inFlight.parsed, this.#run);
        this.#dispatch();
        return;
      } catch (error) {
        // the frames are still in the ring: a parser that died costs a second run
        const { message } = error as Error;
        this.#env.log('error', 'A parser failed; its batch is parsed again', { error: message });
        await delay(PARSE_AGAIN_MS);
      }
    }
  }

  #isWanted(inFlight: InFlightBatch): boolean {
    return this.#run !== null && this.#batches.has(inFlight);
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
      // the first in the order of sealing, parsed or not: a later batch may be parsed earlier
      const first = [...this.#batches].find((inFlight) => inFlight.batch.ticks > 0);
      if (first !== undefined) {
        void this.#recordOrigin(run.epoch, first.batch.first);
        return;
      }
    }
    let earlier = 0;
    let waiting = 0;
    for (const inFlight of this.#batches) {
      const blocked = (inFlight.batch.fills || inFlight.checkLinks) && earlier > 0;
      earlier += 1;
      if (inFlight.parsed === null || inFlight.writing || blocked) continue;
      if (isTooLarge(inFlight, this.#growth.limit)) {
        this.#memory.recycle(inFlight.parsed.copy);
        resetFirstPart(inFlight);
        void this.#parse(inFlight);
        continue;
      }
      if (!this.#writers.isOneIdle) {
        waiting += 1;
        continue;
      }
      const [part] = inFlight.parts;
      const deadLetters = part.isAdmitted ? 0 : inFlight.parsed.deadLetters.length;
      if (deadLetters > 0 && !this.#host.admit(deadLetters)) return;
      part.isAdmitted = true;
      void this.#write(inFlight, inFlight.parsed, run.epoch, this.#writers.take());
    }
    this.#writers.want(waiting);
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

  async #write(inFlight: InFlightBatch, parsed: ParsedBatch, epoch: bigint, writer: number): Promise<void> {
    inFlight.writing = true;
    const write = batchWrite(inFlight, parsed, epoch);
    // null: the writer thread died; the next one finds out whether it had committed
    const outcome = await this.#threads.write(writer, write, attemptAt(inFlight)).catch(() => null);
    if (outcome === null || outcome.kind === 'unconnected') {
      // any other writer can go on with the same bytes
      inFlight.writing = false;
      inFlight.unknown = outcome?.unknown ?? true;
      inFlight.orphans = outcome?.orphans ?? [];
      if (!this.#isRun(epoch)) this.#batches.forget(inFlight);
      this.#writers.lost(writer, outcome);
      this.#dispatch();
      return;
    }
    this.#writers.give(writer);
    this.#finished(inFlight, parsed, write, outcome);
  }

  #finished(inFlight: InFlightBatch, parsed: ParsedBatch, write: BatchWrite, outcome: BatchOutcome): void {
    const { epoch } = write;
    const { frames } = inFlight.parts[0];
    const committed =
      outcome.kind === 'committed'
        ? committedBatch(
            inFlight,
            parsed,
            write,
            outcome,
            sampleAges(this.#ring, inFlight, this.#env.clock.monotonicMs()),
          )
        : null;
    this.#memory.recycle(write.copy);
    resetFirstPart(inFlight);
    if (outcome.kind === 'refused' && this.#isRun(epoch)) this.#split(inFlight, outcome);
    else if (outcome.kind === 'late' && this.#isRun(epoch)) this.#cut(inFlight, outcome);
    else if (outcome.kind === 'committed') this.#next(inFlight, epoch);
    else this.#batches.forget(inFlight);
    if (outcome.kind === 'fenced') this.#replaced(epoch);
    if (committed !== null) {
      inFlight.lostCommits = 0;
      if (!committed.resolved) this.#growth.committed(frames, committed.durationMs);
      this.#ring.batchFramesMax = this.#growth.limit;
      if (this.#isRun(epoch)) this.#run?.record(write);
      this.#observer.committed(committed);
      this.#host.committed(committed);
    }
    this.#dispatch();
  }

  /** The first part is committed. */
  #next(inFlight: InFlightBatch, epoch: bigint): void {
    const [, next, ...rest] = inFlight.parts;
    if (next === undefined || !this.#isRun(epoch)) {
      this.#batches.forget(inFlight);
      return;
    }
    inFlight.parts = [next, ...rest];
    void this.#parse(inFlight);
  }

  /** The first part is refused: its halves replace it; a single frame is replaced by its dead letter or stored tick. */
  #split(inFlight: InFlightBatch, refusal: Refusal): void {
    const whole = refusedBatch(inFlight, refusal);
    if (whole !== null)
      this.#env.log('warn', 'The database refuses rows of a batch: cutting it', { ...whole });
    if (refusal.isUnproven === true) putBehind(inFlight);
    if (refusal.isUnproven === true || halve(inFlight, this.#ring)) {
      void this.#parse(inFlight);
      return;
    }
    const { present } = isolateFrame(inFlight, refusal, this.#ring);
    inFlight.checkLinks = this.#checksLinks && present.ticks > 0;
  }

  /** The database has not stored the first part in time: the parts of the next attempt are half as large. */
  #cut(inFlight: InFlightBatch, { ambiguous, error }: LateBatch): void {
    const [{ frames, first }] = inFlight.parts;
    inFlight.lostCommits += ambiguous;
    this.#growth.late(frames);
    this.#ring.batchFramesMax = this.#growth.limit;
    const fields = { first_tick: first, frames, next_frames: this.#growth.limit, error };
    this.#env.log('warn', 'A batch is too much for the database at once: cutting it', fields);
    void this.#parse(inFlight);
  }

  /** Another daemon has raised the epoch: this run is over, and it can write nothing more. */
  #replaced(epoch: bigint): void {
    if (this.#run?.epoch === epoch) {
      this.#run = null;
      this.#batches.forgetWaiting();
    }
    this.#host.fenced(epoch);
  }
}
