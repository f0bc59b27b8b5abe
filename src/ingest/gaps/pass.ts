import type { Env } from '../../core/env.ts';
import type { FillEntry, FillMode, FillPlan } from '../../core/ingest/fill-plan.ts';
import { RangeSet, type TickRange } from '../../core/ingest/ranges.ts';
import { streamVerdict, type CallFailure } from '../../core/retry.ts';
import type { FillReporter } from './report.ts';
import type { FetchedFrame } from './fetched-frames.ts';
import type { StreamFailure, TickServer } from '../sequencer/connection.ts';

/** The sequencer does not answer, or it limits us: no individual number is at fault. */
export class ServerDown extends Error {
  readonly isLimited: boolean;

  constructor(message: string, isLimited = false) {
    super(message);
    this.isLimited = isLimited;
  }
}
/** The run that the pass belonged to is over. */
export class FillStopped extends Error {}

/** What a pass needs from the filler that starts it. */
export interface PassHost {
  plan: FillPlan;
  reporter: FillReporter;
  env: Env;
  counts: FillCounts;
  /** whether the pass's run is still active */
  isCurrent(): boolean;
  /** see FillHost */
  fill(chunk: readonly FetchedFrame[]): void;
  filling(): boolean;
  /** resolves when filling() may have changed */
  turned(): Promise<void>;
}

/** Absolute counts since this thread started; they only grow. */
export interface FillCounts {
  /** ticks received, by GetTick or from a stream */
  found: number;
  /** answers "not there" */
  missing: number;
  /** no answer, or an unusable one */
  failed: number;
  /** streams opened for long holes */
  streams: number;
}

const NOT_THERE = 'the sequencer does not have it';

/**
 * One attempt at some ranges of the plan. Each number gets one outcome: received, not there, failed, or to be requested
 * in another way; numbers without an outcome at the end go back into the plan unchanged.
 */
export class FillPass {
  readonly server: TickServer;
  readonly entries: readonly FillEntry[];
  readonly #host: PassHost;
  readonly #open: RangeSet;
  /** the sequencer's latest tick at the last query */
  head: bigint;

  constructor(host: PassHost, server: TickServer, head: bigint, entries: readonly FillEntry[]) {
    this.#host = host;
    this.server = server;
    this.head = head;
    this.entries = entries;
    this.#open = new RangeSet(entries);
  }

  get env(): Env {
    return this.#host.env;
  }

  get #nowMs(): number {
    return this.#host.env.clock.monotonicMs();
  }

  get counts(): FillCounts {
    return this.#host.counts;
  }

  /** What has no outcome yet. */
  openWithin(range: TickRange): TickRange[] {
    return this.#open.within(range);
  }

  /** Whether something else could be requested now. */
  get othersWait(): boolean {
    const { nextMs } = this.#host.plan;
    return nextMs !== null && nextMs <= this.#nowMs;
  }

  /** Throws when the run is over; call it after every await. */
  check(): void {
    if (!this.#host.isCurrent()) throw new FillStopped();
  }

  async askHead(): Promise<void> {
    const head = await answered(this.server.head());
    this.check();
    this.head = head;
  }

  /** Puts frames, in order, into the ring and waits until it has accepted them. */
  async came(frames: readonly FetchedFrame[]): Promise<void> {
    if (frames.length === 0) return;
    this.#host.counts.found += frames.length;
    this.#host.fill(frames);
    while (this.#host.filling()) {
      await this.#host.turned();
      this.check();
    }
    for (const { number } of frames) if (number !== null) this.settle({ first: number, last: number });
  }

  /** The outcome is decided elsewhere. */
  settle(range: TickRange): void {
    this.#open.remove(range);
  }

  /** The sequencer answered "not there". It counts once the sequencer's head has reached the number. */
  async notThere(ranges: readonly TickRange[]): Promise<void> {
    if (ranges.length === 0) return;
    await this.askHead();
    for (const { range, entry } of this.#byEntry(ranges)) {
      if (range.last > this.head) {
        this.beyondHead(range);
        continue;
      }
      this.settle(range);
      const waitMs = this.#host.plan.missed(range, entry, this.#nowMs);
      if (waitMs === null) this.#host.reporter.unfillable(range);
      else this.#host.reporter.tried({ ...range, error: NOT_THERE, waitMs });
    }
  }

  beyondHead(range: TickRange): void {
    this.failed(range, `the sequencer's head is ${this.head} only`);
  }

  failed(range: TickRange, error: string): void {
    for (const { range: part, entry } of this.#byEntry([range])) {
      this.settle(part);
      const waitMs = this.#host.plan.failed(part, entry, this.#nowMs);
      this.#host.reporter.tried({ ...part, error, waitMs });
    }
  }

  /** To be requested in another way, at once. */
  again(range: TickRange, mode: FillMode): void {
    for (const { range: part, entry } of this.#byEntry([range])) {
      this.settle(part);
      this.#host.plan.put(part, { ...entry, mode }, 0);
    }
  }

  /** Ends the pass; returns what has no outcome. */
  end(): TickRange[] {
    const rest = this.#open.list().slice();
    for (const { range, entry } of this.#byEntry(rest)) this.#host.plan.put(range, entry, 0);
    return rest;
  }

  /** Only the parts that have no outcome yet. */
  *#byEntry(ranges: readonly TickRange[]): Generator<{ range: TickRange; entry: FillEntry }> {
    for (const wanted of ranges) {
      for (const open of this.#open.within(wanted)) {
        for (const entry of this.entries) {
          const first = open.first > entry.first ? open.first : entry.first;
          const last = open.last < entry.last ? open.last : entry.last;
          if (first <= last) yield { range: { first, last }, entry };
        }
      }
    }
  }
}

/** A call whose failure is the server's fault. */
export async function answered<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof FillStopped || error instanceof ServerDown) throw error;
    throw new ServerDown((error as Error).message, streamVerdict(error as CallFailure) === 'limited');
  }
}

/** A stream whose end is the server's fault. */
export function serverDown(failure: StreamFailure): ServerDown {
  return new ServerDown(failure.text, streamVerdict(failure) === 'limited');
}
