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
  /** frames without a usable number that came right after it: their place is behind it */
  strays: Stray[];
}

/** Frames that came before their turn (the reorder window), by number, and what belongs behind them. */
export class HeldFrames {
  #byNumber = new Map<bigint, HeldFrame>();
  #last: HeldFrame | null = null;
  /** held behind frames that went their way: they go before anything else */
  #strays: Stray[] = [];
  /** of everything that is kept here */
  frames = 0;
  bytes = 0;
  /** since when the lowest one waits for the same hole, monotonic ms */
  sinceMs = 0;

  /** Whether numbered frames are held. */
  get any(): boolean {
    return this.#byNumber.size > 0;
  }

  has(number: bigint): boolean {
    return this.#byNumber.has(number);
  }

  get(number: bigint): WaitingFrame | undefined {
    return this.#byNumber.get(number);
  }

  hold(number: bigint, bytes: Uint8Array, arrivedMs: number): void {
    if (!this.any) this.sinceMs = arrivedMs;
    this.#last = { bytes, arrivedMs, strays: [] };
    this.#byNumber.set(number, this.#last);
    this.#count(bytes);
  }

  /** A frame without a usable number. False when no held frame is before it. */
  stray(stray: Stray): boolean {
    if (this.#last === null) return false;
    this.#last.strays.push(stray);
    this.#count(stray.bytes);
    return true;
  }

  /** The stray that goes next, if any. */
  get firstStray(): Stray | undefined {
    return this.#strays[0];
  }

  tookStray(): void {
    const stray = this.#strays.shift();
    if (stray !== undefined) this.#release(stray);
  }

  took(number: bigint): void {
    const held = this.#byNumber.get(number);
    if (held === undefined) return;
    this.#byNumber.delete(number);
    this.#strays.push(...held.strays);
    if (held === this.#last) this.#last = null;
    this.#release(held);
  }

  clear(): void {
    this.#byNumber.clear();
    this.#last = null;
    this.#strays = [];
    this.frames = 0;
    this.bytes = 0;
  }

  #count(bytes: Uint8Array): void {
    this.frames += 1;
    this.bytes += bytes.length;
  }

  #release({ bytes }: WaitingFrame): void {
    this.frames -= 1;
    this.bytes -= bytes.length;
  }
}
