import { u64At } from '../../core/chain/u64.ts';
import { scanTickNumber } from '../../core/chain/wire.ts';
import type { TickRange } from '../../core/ingest/ranges.ts';
import { Sequence, type SequenceStart } from '../../core/ingest/sequence.ts';
import type { SealLimits } from '../../core/ingest/seal.ts';
import { Backlog, type PausedStream } from './backlog.ts';
import { FetchedFrames, type FetchedFrame } from '../gaps/fetched-frames.ts';
import { BatchBuilder, outputBefore, type SealedBatch } from './batch-builder.ts';
import { JUMP_MAX } from '../sequencer/head-watch.ts';
import { ReorderBuffer, type ReorderLimits, type UnnumberedFrame } from './reorder-buffer.ts';
import { ReaderCounts } from './counts.ts';
import type { RepeatedFrame } from './repeated-frames.ts';
import type { Ring } from '../ring.ts';

export interface ReaderLimits extends SealLimits, ReorderLimits {}

export interface ReaderEvents extends PausedStream {
  sealed: (batch: SealedBatch) => void;
  /** False when it has no capacity for it now: it is offered again. */
  repeated(frame: RepeatedFrame): boolean;
  /** Whether a very large hole before this number may be declared a gap; asked again until it may. */
  mayJump(number: bigint): boolean;
  /** holes that are no longer waited for */
  gaps: (gaps: readonly TickRange[]) => void;
}

const HIGHEST_HI = 0x7fff_ffff;

/**
 * Puts frames into the ring in chain order: the reader's own work, separate from the connection the frames come from.
 * It does not know gRPC, so it is tested with plain bytes.
 *
 * Each frame's number is read from the wire (no decoding beyond the top level); the frame that is due goes straight
 * into the open batch, everything else takes the slow path through the sequence. When the ring is full the stream is
 * paused and frames already delivered wait in `#backlog`.
 */
export class FrameReader {
  readonly #ring: Ring;
  readonly #limits: ReaderLimits;
  readonly #events: ReaderEvents;
  readonly #builder: BatchBuilder;
  readonly #clockMs: () => number;
  readonly counts = new ReaderCounts();

  readonly #sequence: Sequence;
  readonly #number = new Uint32Array(2);
  #dueHi = -1;
  #dueLo = -1;
  readonly #reorder: ReorderBuffer;
  readonly #giveUnnumbered = (frame: UnnumberedFrame): boolean => this.#appendUnnumbered(frame);
  readonly #fetched = new FetchedFrames();
  /** highest number of this stream so far, or the one before the number it was opened at */
  #seen = -1n;
  readonly #backlog: Backlog;
  /** a hole is too large to be believed yet: reading is suspended */
  #doubts = false;
  /** frames placed so far */
  #placed = 0;

  /** clockMs: monotonic ms with a fraction. */
  constructor(
    ring: Ring,
    limits: ReaderLimits,
    start: SequenceStart,
    events: ReaderEvents,
    clockMs: () => number,
  ) {
    this.#ring = ring;
    this.#limits = limits;
    this.#events = events;
    this.#clockMs = clockMs;
    this.#sequence = new Sequence(start);
    this.#reorder = new ReorderBuffer(this.#sequence, limits);
    this.#backlog = new Backlog(ring, this.counts, events);
    this.#builder = new BatchBuilder(ring, limits, events.sealed, outputBefore(start));
    this.#noteDue();
    this.#seen = this.#beforeDue;
  }

  /** The number that is due, to request when the stream is reopened; null before the first frame of a chain. */
  get due(): bigint | null {
    return this.#sequence.expected;
  }

  /** The highest number seen; null before the first one. */
  get highest(): bigint | null {
    return this.#sequence.expected === null ? null : this.#sequence.highest;
  }

  get waiting(): boolean {
    return this.#backlog.waits;
  }

  /** One frame from the stream; the bytes may be kept until they are copied into the ring. */
  frame(bytes: Uint8Array): void {
    this.counts.frames += 1;
    this.counts.bytes += bytes.length;
    const arrivedMs = this.#clockMs();
    if (this.#backlog.waits || !this.#accept(bytes, arrivedMs)) {
      this.#backlog.put(bytes, arrivedMs);
    }
  }

  /** The lowest part of this range that is missing: in a gap, and not filled yet. */
  missing(range: TickRange): TickRange | null {
    return this.#sequence.gapWithin(range);
  }

  /** Frames for gaps, in order of `due`. They go into the ring together, one chunk at a time: see filling. */
  fillGaps(chunk: readonly FetchedFrame[]): void {
    this.#fetched.put(chunk, this.#clockMs());
    this.#offerFetched();
  }

  /** Whether fetched frames wait for capacity in the ring. */
  get filling(): boolean {
    return this.#fetched.any;
  }

  /** Something was committed, or time has passed: seal, give up waiting, take the backlog. */
  turn(): void {
    if (this.#doubts) this.#declareGap();
    const mayPass = this.#offerFetched() && !this.#doubts;
    if (mayPass) this.#takeBacklog();
    else this.#backlog.wait();
    if (this.#reorder.isOverdue(this.#clockMs())) this.#declareGap();
    this.#builder.seal(this.#clockMs());
    if (mayPass && !this.#doubts && this.#backlog.waits && this.#isClear()) this.#backlog.wake();
  }

  /** The stream was lost: frames not in the ring will be sent again, from the number that is due. */
  disconnected(): void {
    this.#backlog.clear();
    this.#doubts = false;
    this.#reorder.forget();
    this.#seen = this.#beforeDue;
  }

  /**
   * Seals everything that was read, whatever the batch's size. False while the ring lacks capacity for all of it: call
   * it again. Frames that wait for missing ones are left: the next start reads them again.
   */
  drain(): boolean {
    if (this.#doubts) this.disconnected();
    this.#fetched.clear();
    this.#takeBacklog();
    this.#builder.sealNow();
    return this.#isClear();
  }

  /** Returns the open slab; nothing of it is written. */
  abandon(): void {
    this.disconnected();
    this.#fetched.clear();
    this.#builder.abandon();
    this.#backlog.abandon();
  }

  /** False when the ring has no capacity for it now: the same frame must be offered again. */
  #accept(bytes: Uint8Array, arrivedMs: number): boolean {
    if (!this.#place(bytes, arrivedMs)) return false;
    this.#placed += 1;
    return true;
  }

  #place(bytes: Uint8Array, arrivedMs: number): boolean {
    const number = this.#number;
    const status = scanTickNumber(bytes, 0, bytes.length, number);
    if (status !== 0 || number[0] > HIGHEST_HI) return this.#acceptUnnumbered(bytes, arrivedMs);
    if (number[1] === this.#dueLo && number[0] === this.#dueHi) {
      if (!this.#append(bytes, arrivedMs)) return false;
      if (this.#reorder.any) this.#takeReordered();
      return true;
    }
    return this.#acceptOther(u64At(number, 0), bytes, arrivedMs);
  }

  #acceptUnnumbered(bytes: Uint8Array, arrivedMs: number): boolean {
    if (this.#reorder.addUnnumbered({ after: this.#seen, bytes, arrivedMs })) {
      this.#boundReorder();
      return true;
    }
    return this.#appendUnnumbered({ after: this.#seen, bytes, arrivedMs });
  }

  /** Not keyed by the number that is due: read again after a restart, it must be the same dead letter. */
  #appendUnnumbered({ after, bytes, arrivedMs }: UnnumberedFrame): boolean {
    if (!this.#builder.appendUnnumbered(after + 1n, bytes, arrivedMs)) return false;
    this.counts.unnumbered += 1;
    return true;
  }

  /** False when they have waited too long: then no frame of the stream goes before them. */
  #offerFetched(): boolean {
    const nowMs = this.#clockMs();
    return this.#fetched.offer(nowMs, {
      isBusy: () => this.#backlog.waits || this.#ring.inFlight >= this.#limits.inFlightMax,
      continues: ({ number }) => number !== null && this.#builder.continues(number),
      accept: ({ number, due, bytes }) =>
        number === null
          ? this.#builder.appendUnnumbered(due, bytes, nowMs)
          : this.#appendFetched(number, bytes, nowMs),
    });
  }

  /** What the stream has delivered meanwhile, or the fetched frames twice, may have been bad: it is compared. */
  #appendFetched(number: bigint, bytes: Uint8Array, nowMs: number): boolean {
    const isMissing = this.#sequence.place(number) === 'late';
    return isMissing ? this.#appendLate(number, bytes, nowMs) : this.#repeat(number, true, bytes);
  }

  #appendLate(number: bigint, bytes: Uint8Array, arrivedMs: number): boolean {
    if (!this.#builder.append(number, true, bytes, arrivedMs)) return false;
    this.#sequence.tookLate(number);
    this.counts.late += 1;
    return true;
  }

  #acceptOther(number: bigint, bytes: Uint8Array, arrivedMs: number): boolean {
    const placement = this.#sequence.place(number);
    if (number > this.#seen) this.#seen = number;
    switch (placement) {
      case 'next':
        this.#noteDue();
        return this.#append(bytes, arrivedMs);
      case 'ahead':
        this.#reorder.add(number, bytes, arrivedMs);
        this.#boundReorder();
        return true;
      case 'late':
        return this.#appendLate(number, bytes, arrivedMs);
      case 'resume':
        return this.#repeat(number, true, bytes);
      case 'repeated':
        return this.#repeat(number, false, bytes);
    }
  }

  #repeat(number: bigint, isOwn: boolean, bytes: Uint8Array): boolean {
    if (!this.#events.repeated({ number, isOwn, ordinal: this.#placed, bytes })) return false;
    this.counts[isOwn ? 'resumed' : 'repeated'] += 1;
    return true;
  }

  #append(bytes: Uint8Array, arrivedMs: number): boolean {
    const due = this.#sequence.expected!;
    if (!this.#builder.append(due, false, bytes, arrivedMs)) return false;
    if (due > this.#seen) this.#seen = due;
    this.#sequence.tookNext();
    this.#noteDue();
    return true;
  }

  #boundReorder(): void {
    if (this.#reorder.isFull) this.#declareGap();
  }

  #declareGap(): void {
    this.#doubts = this.#sequence.jump > JUMP_MAX && !this.#events.mayJump(this.#sequence.lowestBuffered!);
    if (this.#doubts) return this.#backlog.wait();
    const gaps: TickRange[] = this.#sequence.giveUp();
    this.counts.gaps += gaps.length;
    this.#builder.gapsBefore(gaps);
    this.#noteDue();
    if (gaps.length > 0) this.#events.gaps(gaps);
    this.#takeReordered();
    // what is still buffered waits for another hole from now on
    this.#reorder.sinceMs = this.#clockMs();
  }

  /** Appends buffered frames while the number that is due is among them, and the unnumbered ones that follow them. */
  #takeReordered(): void {
    while (this.#reorder.giveUnnumbered(this.#giveUnnumbered)) {
      const { due } = this.#reorder;
      if (due === undefined) return;
      if (!this.#append(due.bytes, due.arrivedMs)) break;
      this.#reorder.took(due);
    }
    this.#backlog.wait();
  }

  /** Everything delivered is in the ring, or waits for missing ticks. */
  #isClear(): boolean {
    return this.#backlog.frames.length === 0 && !this.#reorder.isNext;
  }

  #takeBacklog(): void {
    if (this.#reorder.isNext) this.#takeReordered();
    if (this.#reorder.isNext) return;
    let taken = 0;
    for (const { bytes, arrivedMs } of this.#backlog.frames) {
      if (!this.#accept(bytes, arrivedMs)) break;
      taken += 1;
    }
    this.#backlog.took(taken);
  }

  get #beforeDue(): bigint {
    return (this.#sequence.expected ?? 0n) - 1n;
  }

  #noteDue(): void {
    const due = this.#sequence.expected;
    this.#dueHi = due === null ? -1 : Number(due >> 32n);
    this.#dueLo = due === null ? -1 : Number(due & 0xffff_ffffn);
  }
}
