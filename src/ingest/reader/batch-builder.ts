import type { TickRange } from '../../core/ingest/ranges.ts';
import { shouldSeal, type SealLimits } from '../../core/ingest/seal.ts';
import { PROOF_OUTPUT, TickWire } from '../../core/chain/wire.ts';
import { FRAME_UNNUMBERED, INDEX_WORDS } from '../../core/copy/transcode.ts';
import type { SequenceStart } from '../../core/ingest/sequence.ts';
import type { Ring, Slab } from '../ring.ts';

/** A complete batch: which slab holds its frames and what they are. Sent from the reader to the pipeline. */
export interface SealedBatch {
  /** the slab, or null when the frames came in `side` */
  slab: number | null;
  /** one frame too large for a slab, in its own memory */
  side: Uint8Array<ArrayBuffer> | null;
  frames: number;
  /** numbered frames; their numbers are first … first + ticks - 1 */
  ticks: number;
  /** the number due at the batch's first frame, even when no frame is numbered */
  first: bigint;
  /** bytes of all frames */
  bytes: number;
  /** new holes directly below this batch */
  gaps: TickRange[];
  /** the numbers lie in gaps declared earlier: nothing may overtake the batch, and it shrinks the gaps */
  fills: boolean;
  /** vdf output (hex digits) of tick first - 1 if the reader knows it, else null */
  previous: string | null;
  /** when the first frame arrived, monotonic ms */
  openedMs: number;
}

/** A longer one is treated as unknown, because it travels in a message. An output of the chain has 512 digits. */
const OUTPUT_DIGITS_MAX = 4096;

/**
 * The open batch. A batch covers one contiguous range of numbers, so it is cut at every hole; unnumbered frames stay at
 * their position within it. One slab is open at a time.
 */
export class BatchBuilder {
  readonly #ring: Ring;
  readonly #limits: SealLimits;
  readonly #sealed: (batch: SealedBatch) => void;
  #slab: Slab | null = null;
  #frames = 0;
  #ticks = 0;
  #bytes = 0;
  #first = 0n;
  #fills = false;
  #gaps: TickRange[] = [];
  #openedMs = 0;
  #newGaps: TickRange[] = [];
  /** most frames of the open batch */
  #framesMax = 0;
  /** position in the slab's index of the open batch's last numbered frame */
  #lastTickWord = 0;
  #previous: string | null = null;
  /** the number after the last batch, and the output of the tick before it */
  #outputBefore: OutputBefore | null;
  readonly #wire = new TickWire();

  /** outputBefore: what is known of the tick before the first one. */
  constructor(
    ring: Ring,
    limits: SealLimits,
    sealed: (batch: SealedBatch) => void,
    outputBefore: OutputBefore | null = null,
  ) {
    this.#ring = ring;
    this.#limits = limits;
    this.#sealed = sealed;
    this.#outputBefore = outputBefore;
  }

  /** These holes are recorded with the next batch that has a range. */
  gapsBefore(gaps: readonly TickRange[]): void {
    this.#newGaps.push(...gaps);
  }

  /** Whether a late tick of this number belongs to the open batch. */
  continues(number: bigint): boolean {
    const isNext = number === this.#first + BigInt(this.#ticks);
    return this.#fills && this.#frames > 0 && isNext && this.#newGaps.length === 0;
  }

  /** False when the ring has no capacity now. */
  append(number: bigint, fills: boolean, bytes: Uint8Array, arrivedMs: number): boolean {
    if (this.#ring.bufferedTicks >= this.#ring.geometry.ticksMax) {
      this.seal(arrivedMs);
      return false;
    }
    const cut = this.#frames > 0 && (fills !== this.#fills || number !== this.#first + BigInt(this.#ticks));
    if (cut || (this.#newGaps.length > 0 && this.#frames > 0)) this.#seal();
    if (bytes.length > this.#ring.geometry.slabBytes)
      return this.#appendSide(number, fills, 0, bytes, arrivedMs);
    if (!this.#ensureSlab(number, fills, true, bytes.length, arrivedMs)) return false;
    this.#ticks += 1;
    this.#ring.addBufferedTicks(1);
    this.#lastTickWord = this.#frames * INDEX_WORDS;
    this.#copy(bytes, 0, arrivedMs);
    if (this.#ticks >= this.#limits.batchTicks || this.#frames >= this.#framesMax) this.seal(arrivedMs);
    return true;
  }

  /** A frame whose number cannot be used; due: the number it should have had, which identifies its dead letter. */
  appendUnnumbered(due: bigint, bytes: Uint8Array, arrivedMs: number): boolean {
    const cut = this.#frames > 0 && due !== this.#first + BigInt(this.#ticks);
    if (this.#fills || cut) this.#seal();
    if (bytes.length > this.#ring.geometry.slabBytes)
      return this.#appendSide(due, false, FRAME_UNNUMBERED, bytes, arrivedMs);
    if (!this.#ensureSlab(due, false, false, bytes.length, arrivedMs)) return false;
    this.#copy(bytes, FRAME_UNNUMBERED, arrivedMs);
    return true;
  }

  /** Seals the open batch when it is worth it (see shouldSeal). */
  seal(nowMs: number): void {
    if (this.#frames === 0) return;
    const batch = { ticks: this.#frames, ageMs: nowMs - this.#openedMs };
    if (shouldSeal(batch, this.#ring.inFlight, this.#limits, this.#framesMax)) this.#seal();
  }

  sealNow(): void {
    this.#seal();
  }

  /** Returns the open slab unwritten. */
  abandon(): void {
    if (this.#slab !== null) this.#ring.free(this.#slab.id);
    this.#ring.addBufferedTicks(-this.#ticks);
    this.#newGaps = [];
    this.#outputBefore = null;
    this.#reset();
  }

  /** Ensures that a slab is open with capacity for one more frame. */
  #ensureSlab(number: bigint, fills: boolean, numbered: boolean, length: number, arrivedMs: number): boolean {
    const { slabBytes } = this.#ring.geometry;
    if (this.#slab !== null && (this.#frames >= this.#framesMax || this.#bytes + length > slabBytes))
      this.#seal();
    if (this.#slab !== null) return true;
    const slab = this.#ring.take();
    if (slab === undefined) return false;
    this.#slab = slab;
    this.#open(number, fills, numbered, arrivedMs);
    return true;
  }

  #open(number: bigint, fills: boolean, numbered: boolean, arrivedMs: number): void {
    this.#first = number;
    this.#fills = fills;
    this.#openedMs = arrivedMs;
    this.#framesMax = this.#ring.batchFramesMax;
    this.#previous = !fills && this.#outputBefore?.next === number ? this.#outputBefore.output : null;
    if (!numbered) return; // without its own range it could be sent twice, and its gaps with it
    this.#gaps = this.#newGaps;
    this.#newGaps = [];
  }

  #copy(bytes: Uint8Array, flags: number, arrivedMs: number): void {
    const slab = this.#slab!;
    const word = this.#frames * INDEX_WORDS;
    slab.index[word] = this.#bytes;
    slab.index[word + 1] = bytes.length;
    slab.index[word + 2] = flags;
    slab.arrivals[this.#frames] = (arrivedMs - this.#openedMs) * 1000;
    copyInto(slab, this.#bytes, bytes);
    this.#bytes += bytes.length;
    this.#frames += 1;
  }

  #appendSide(number: bigint, fills: boolean, flags: number, bytes: Uint8Array, arrivedMs: number): boolean {
    this.#seal();
    // such a frame always becomes a dead letter; one of them at a time keeps memory bounded
    if (this.#ring.inFlight > 0) return false;
    const ticks = flags === FRAME_UNNUMBERED ? 0 : 1;
    this.#open(number, fills, ticks === 1, arrivedMs);
    this.#frames = 1;
    this.#ticks = ticks;
    this.#bytes = bytes.length;
    this.#ring.addBufferedTicks(ticks);
    this.#emit(null, Uint8Array.from(bytes));
    return true;
  }

  #seal(): void {
    if (this.#frames === 0 || this.#slab === null) return;
    if (!this.#fills && this.#ticks > 0) {
      const next = this.#first + BigInt(this.#ticks);
      this.#outputBefore = { next, output: this.#lastOutput(this.#slab) };
    }
    this.#emit(this.#slab.id, null);
  }

  /** Of the batch's last tick: one frame per batch is read, for the link to the next one. */
  #lastOutput({ index, bytes }: Slab): string | null {
    const start = index[this.#lastTickWord];
    const status = this.#wire.readTick(bytes, start, start + index[this.#lastTickWord + 1]);
    const { tick } = this.#wire;
    const length = tick[PROOF_OUTPUT + 1];
    if (status !== 0 || length > OUTPUT_DIGITS_MAX) return null;
    return Buffer.from(bytes.buffer, bytes.byteOffset + tick[PROOF_OUTPUT], length).toString('latin1');
  }

  #emit(slab: number | null, side: Uint8Array<ArrayBuffer> | null): void {
    this.#ring.addInFlight(1);
    this.#sealed({
      slab,
      side,
      frames: this.#frames,
      ticks: this.#ticks,
      first: this.#first,
      bytes: this.#bytes,
      gaps: this.#gaps,
      fills: this.#fills,
      previous: this.#previous,
      openedMs: this.#openedMs,
    });
    this.#reset();
  }

  #reset(): void {
    this.#slab = null;
    this.#frames = 0;
    this.#ticks = 0;
    this.#bytes = 0;
    this.#gaps = [];
    this.#fills = false;
    this.#previous = null;
  }
}

/** The output of the tick before `next`, hex digits; null when it is not known. */
interface OutputBefore {
  next: bigint;
  output: string | null;
}

export function outputBefore({ expected, previousOutput = null }: SequenceStart): OutputBefore | null {
  return expected === null ? null : { next: expected, output: previousOutput };
}

/**
 * memmove into shared memory. TypedArray.set takes a slow path there (word by word, 200 ns for a full tick), and so
 * does Buffer.copy of a whole buffer; copying a part is native (90 ns). Hence all but the last byte, and then that one.
 */
function copyInto(slab: Slab, at: number, frame: Uint8Array): void {
  const last = frame.length - 1;
  if (last > 0 && Buffer.isBuffer(frame)) frame.copy(slab.bytes, at, 0, last);
  else slab.bytes.set(frame, at);
  if (last >= 0) slab.bytes[at + last] = frame[last];
}
