import type { Sequence } from '../../core/ingest/sequence.ts';

/** How many out-of-order frames wait for the missing ones, for how long, and how many bytes of them. */
export interface ReorderLimits {
  reorderTicks: number;
  reorderMs: number;
  reorderBytes: number;
}

/** A waiting frame, and when it arrived, monotonic ms. */
export interface WaitingFrame {
  bytes: Uint8Array;
  arrivedMs: number;
}

/** A frame without a usable number: it follows the highest number before it on its stream. */
export interface UnnumberedFrame extends WaitingFrame {
  after: bigint;
}

interface BufferedFrame extends WaitingFrame {
  number: bigint;
  /** frames without a usable number that arrived right after it: they are placed behind it */
  unnumbered: UnnumberedFrame[];
}

/** Frames that arrived before their turn (the reorder window), by number, and the unnumbered ones that follow them. */
export class ReorderBuffer {
  readonly #sequence: Sequence;
  readonly #limits: ReorderLimits;
  #byNumber = new Map<bigint, BufferedFrame>();
  #last: BufferedFrame | null = null;
  /** their numbered frames are already in the ring: they go before anything else */
  #unnumbered: UnnumberedFrame[] = [];
  /** of everything buffered here */
  #frames = 0;
  #bytes = 0;
  /** since when the lowest one has waited for the same hole, monotonic ms */
  sinceMs = 0;

  /** sequence: notified of which numbers are buffered. */
  constructor(sequence: Sequence, limits: ReorderLimits) {
    this.#sequence = sequence;
    this.#limits = limits;
  }

  /** Whether numbered frames are buffered. */
  get any(): boolean {
    return this.#byNumber.size > 0;
  }

  /** More than may wait. */
  get isFull(): boolean {
    return this.#frames > this.#limits.reorderTicks || this.#bytes > this.#limits.reorderBytes;
  }

  /** The missing ones were waited for long enough. */
  isOverdue(nowMs: number): boolean {
    return this.any && nowMs - this.sinceMs >= this.#limits.reorderMs;
  }

  /** The frame of the number that is due, if it is buffered. */
  get due(): BufferedFrame | undefined {
    const due = this.#sequence.expected;
    return due === null ? undefined : this.#byNumber.get(due);
  }

  /** The ring had no capacity for it: nothing that arrived later may overtake it. */
  get isNext(): boolean {
    return this.#unnumbered.length > 0 || this.due !== undefined;
  }

  add(number: bigint, bytes: Uint8Array, arrivedMs: number): void {
    if (!this.any) this.sinceMs = arrivedMs;
    this.#last = { number, bytes, arrivedMs, unnumbered: [] };
    this.#byNumber.set(number, this.#last);
    this.#count(bytes);
    this.#sequence.buffered(number);
  }

  /** A frame without a usable number. False when no buffered frame precedes it. */
  addUnnumbered(frame: UnnumberedFrame): boolean {
    if (this.#last === null) return false;
    this.#last.unnumbered.push(frame);
    this.#count(frame.bytes);
    return true;
  }

  /** Those that go before anything else. False when one of them did not fit. */
  giveUnnumbered(append: (frame: UnnumberedFrame) => boolean): boolean {
    for (let frame = this.#unnumbered[0]; frame !== undefined; frame = this.#unnumbered[0]) {
      if (!append(frame)) return false;
      this.#unnumbered.shift();
      this.#release(frame);
    }
    return true;
  }

  took(frame: BufferedFrame): void {
    this.#byNumber.delete(frame.number);
    this.#unnumbered.push(...frame.unnumbered);
    if (frame === this.#last) this.#last = null;
    this.#release(frame);
  }

  /** The stream will send them again. */
  forget(): void {
    this.#sequence.forgetBuffered();
    this.#byNumber.clear();
    this.#last = null;
    this.#unnumbered = [];
    this.#frames = 0;
    this.#bytes = 0;
  }

  #count(bytes: Uint8Array): void {
    this.#frames += 1;
    this.#bytes += bytes.length;
  }

  #release({ bytes }: WaitingFrame): void {
    this.#frames -= 1;
    this.#bytes -= bytes.length;
  }
}
