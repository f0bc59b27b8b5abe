import type { Sequence } from '../../core/ingest/sequence.ts';

/** Out-of-order frames wait for the missing ones: at most so many ticks, so long, and so many bytes. */
export interface ReorderLimits {
  reorderTicks: number;
  reorderMs: number;
  reorderBytes: number;
}

/** A frame that waits, and when it came, monotonic ms. */
export interface WaitingFrame {
  bytes: Uint8Array;
  arrivedMs: number;
}

/** A frame without a usable number: it belongs behind the highest number that came before it on its stream. */
export interface Stray extends WaitingFrame {
  after: bigint;
}

interface HeldFrame extends WaitingFrame {
  number: bigint;
  /** frames without a usable number that came right after it: their place is behind it */
  strays: Stray[];
}

/** Frames that came before their turn (the reorder window), by number, and what belongs behind them. */
export class HeldFrames {
  readonly #sequence: Sequence;
  readonly #limits: ReorderLimits;
  #byNumber = new Map<bigint, HeldFrame>();
  #last: HeldFrame | null = null;
  /** held behind frames that went their way: they go before anything else */
  #strays: Stray[] = [];
  /** of everything that is kept here */
  #frames = 0;
  #bytes = 0;
  /** since when the lowest one waits for the same hole, monotonic ms */
  sinceMs = 0;

  /** sequence: is told which numbers are held. */
  constructor(sequence: Sequence, limits: ReorderLimits) {
    this.#sequence = sequence;
    this.#limits = limits;
  }

  /** Whether numbered frames are held. */
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

  /** The frame of the number that is due, if it is among them. */
  get due(): HeldFrame | undefined {
    const due = this.#sequence.expected;
    return due === null ? undefined : this.#byNumber.get(due);
  }

  /** The ring had no room for it: nothing that came later may overtake it. */
  get isNext(): boolean {
    return this.#strays.length > 0 || this.due !== undefined;
  }

  hold(number: bigint, bytes: Uint8Array, arrivedMs: number): void {
    if (!this.any) this.sinceMs = arrivedMs;
    this.#last = { number, bytes, arrivedMs, strays: [] };
    this.#byNumber.set(number, this.#last);
    this.#count(bytes);
    this.#sequence.held(number);
  }

  /** A frame without a usable number. False when no held frame is before it. */
  stray(stray: Stray): boolean {
    if (this.#last === null) return false;
    this.#last.strays.push(stray);
    this.#count(stray.bytes);
    return true;
  }

  /** Those that go before anything else. False when one of them found no room. */
  giveStrays(append: (stray: Stray) => boolean): boolean {
    for (let stray = this.#strays[0]; stray !== undefined; stray = this.#strays[0]) {
      if (!append(stray)) return false;
      this.#strays.shift();
      this.#release(stray);
    }
    return true;
  }

  took(held: HeldFrame): void {
    this.#byNumber.delete(held.number);
    this.#strays.push(...held.strays);
    if (held === this.#last) this.#last = null;
    this.#release(held);
  }

  /** The stream sends them again. */
  forget(): void {
    this.#sequence.forgetHeld();
    this.#byNumber.clear();
    this.#last = null;
    this.#strays = [];
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
