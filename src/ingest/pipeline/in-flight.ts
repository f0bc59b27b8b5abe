import { Signal } from '../../core/wait.ts';
import type { SealedBatch } from '../reader/batch-builder.ts';
import type { ParsedBatch } from '../parser/parse.ts';
import type { Ring } from '../ring.ts';
import type { Backend, WriteAttempt } from '../writer/outcome.ts';
import type { Refusal } from '../writer/refusal.ts';
import { halves, rangeOf, wholePart, type Part } from './batch-part.ts';
import { isolate, type Isolated } from './isolate.ts';
import type { RunProgress } from './progress.ts';

/** A sealed batch on its way through the pipeline. */
export interface InFlightBatch {
  batch: SealedBatch;
  /** its parts that are not yet committed, in order; the fields below are about the first of them */
  parts: [Part, ...Part[]];
  /** null until parsed */
  parsed: ParsedBatch | null;
  /** replaces a tick that the database refused */
  isolated: Isolated | null;
  /** the links at the ends of its range must be compared with what is stored */
  checkLinks: boolean;
  writing: boolean;
  /** an attempt at it may have been committed */
  unknown: boolean;
  /** and may still be under way there */
  orphans: readonly Backend[];
  /** its parts are not written in their order any more */
  isReordered: boolean;
  /** COMMITs whose answer did not come, and that the ledger does not have */
  lostCommits: number;
}

const UNTOUCHED = {
  parsed: null,
  isolated: null,
  checkLinks: false,
  writing: false,
  unknown: false,
  orphans: [],
};

/**
 * The batches in flight, in the order of sealing. Each one has its slab, its ticks in the ring and one of the reader's
 * credits until it is forgotten.
 */
export class InFlightBatches {
  readonly #ring: Ring;
  readonly #credit: () => void;
  readonly #batches = new Set<InFlightBatch>();
  readonly #empty = new Signal();

  /** credit: tells the reader that a batch is done. */
  constructor(ring: Ring, credit: () => void) {
    this.#ring = ring;
    this.#credit = credit;
  }

  add(batch: SealedBatch): InFlightBatch {
    const inFlight: InFlightBatch = {
      batch,
      parts: [wholePart(batch)],
      lostCommits: 0,
      isReordered: false,
      ...UNTOUCHED,
    };
    this.#batches.add(inFlight);
    return inFlight;
  }

  has(inFlight: InFlightBatch): boolean {
    return this.#batches.has(inFlight);
  }

  [Symbol.iterator](): IterableIterator<InFlightBatch> {
    return this.#batches.values();
  }

  /** Bytes of their frames. */
  get bytes(): number {
    let bytes = 0;
    for (const { batch } of this.#batches) bytes += batch.bytes;
    return bytes;
  }

  /** Up to where none is in flight, at most `position`. */
  quietUpTo(position: bigint | null): bigint | null {
    let quiet = position;
    for (const { batch } of this.#batches) {
      if (quiet !== null && batch.first <= quiet) quiet = batch.first - 1n;
    }
    return quiet;
  }

  /** Resolves when there are none. */
  async settled(): Promise<void> {
    if (this.#batches.size > 0) await this.#empty.wait();
  }

  /** All but those at a writer. */
  forgetWaiting(): void {
    for (const inFlight of Array.from(this.#batches)) if (!inFlight.writing) this.forget(inFlight);
  }

  /** Its slab is free, its ticks are no longer counted as buffered. */
  forget(inFlight: InFlightBatch): void {
    const { batch } = inFlight;
    if (!this.#batches.delete(inFlight)) return;
    if (batch.slab !== null) this.#ring.free(batch.slab);
    this.#ring.addBufferedTicks(-batch.ticks);
    this.#ring.addInFlight(-1);
    this.#credit();
    if (this.#batches.size === 0) this.#empty.fire();
  }
}

/** The first part has an outcome: everything known about it is reset. */
export function resetFirstPart(inFlight: InFlightBatch): void {
  Object.assign(inFlight, UNTOUCHED);
}

/**
 * Whether the batch's own transaction must compare the links at the ends of its range with what is stored. The parser
 * compared each tick with the previous one in the same part, and the first one with the previous tick as the reader
 * knew it. The store is asked where nobody has compared: in gaps, where the previous tick was not known or is a
 * different one (it may not even be stored), and below ranges left by an earlier run. Such a batch waits for all
 * earlier ones: of two neighbours, the later one asks, and finds the other.
 */
export function needsLinkCheck(
  { batch, parts: [part], isReordered }: InFlightBatch,
  parsed: ParsedBatch,
  run: RunProgress,
): boolean {
  const { boundary, ticks } = parsed;
  if (ticks === 0) return false;
  if (batch.fills || isReordered || boundary === 'broken' || run.wasAhead(part.first + BigInt(part.ticks)))
    return true;
  if (boundary !== 'unknown' || run.origin === null || part.first <= run.origin) return false;
  const before = part.first - 1n;
  return !part.gaps.some(({ first, last }) => first <= before && before <= last);
}

/** A batch whose rows the database refuses, for the log. */
export interface RefusedBatch {
  first_tick: bigint;
  last_tick: bigint | null;
  sqlstate: string;
  error: string;
}

/** Null when only a part of the batch is refused. */
export function refusedBatch({ batch, parts: [part] }: InFlightBatch, refusal: Refusal): RefusedBatch | null {
  if (part.frames !== batch.frames) return null;
  const { sqlstate, message: error } = refusal;
  return { first_tick: part.first, last_tick: rangeOf(part)?.last ?? null, sqlstate, error };
}

/** Halves replace the first part. False when it is a single frame. */
export function halve(inFlight: InFlightBatch, ring: Ring): boolean {
  const { slab } = inFlight.batch;
  const [part, ...rest] = inFlight.parts;
  if (slab === null || part.frames === 1) return false;
  inFlight.parts = [...halves(part, ring.slab(slab).index), ...rest];
  return true;
}

/** Whether the first part can be written in smaller parts. */
function isDivisible({ batch, isolated, parts: [part] }: InFlightBatch): boolean {
  return batch.slab !== null && isolated === null && part.frames > 1;
}

/** Whether the first part has more frames than the database takes in time at the moment. What may be committed is not cut anew. */
export function isTooLarge(inFlight: InFlightBatch, framesMax: number): boolean {
  return !inFlight.unknown && inFlight.parts[0].frames > framesMax && isDivisible(inFlight);
}

/** For a writer. */
export function attemptAt(inFlight: InFlightBatch): WriteAttempt {
  const { unknown, orphans } = inFlight;
  return { unknown, orphans, isDivisible: isDivisible(inFlight) };
}

/** The others go first. */
export function putBehind(inFlight: InFlightBatch): void {
  const [part, next, ...rest] = inFlight.parts;
  if (next === undefined) return;
  inFlight.parts = [next, ...rest, part];
  inFlight.isReordered = true;
}

/** The first part is a single frame: its replacement takes its position, as if it had been parsed. */
export function isolateFrame(inFlight: InFlightBatch, refusal: Refusal, ring: Ring): Isolated {
  const { slab, side } = inFlight.batch;
  const [part] = inFlight.parts;
  const frame = slab === null ? side! : ring.copyFrame(slab, part.from);
  const isolated = isolate(part.first, frame, refusal);
  inFlight.isolated = isolated;
  inFlight.parsed = isolated.parsed;
  part.isAdmitted = false;
  return isolated;
}
