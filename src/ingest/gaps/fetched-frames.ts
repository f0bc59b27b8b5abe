/** A frame that was fetched outside the live stream, to fill a gap. */
export interface FetchedFrame {
  /** null when the frame has no usable number */
  number: bigint | null;
  /** its number, or the one it should have had */
  due: bigint;
  bytes: Uint8Array;
}

/** Where the frames go. */
export interface FetchedTaker {
  /** all parsers and writers are busy */
  isBusy(): boolean;
  /** the frame needs no batch of its own */
  continues(frame: FetchedFrame): boolean;
  /** false: no capacity now */
  accept(frame: FetchedFrame): boolean;
}

/** Fetched frames yield to the stream while all parsers and writers are busy; after this time they go first, ms. */
const WAIT_MS = 100;

/** One chunk of fetched frames on its way into the ring. Each run of consecutive numbers is a batch of its own. */
export class FetchedFrames {
  #chunk: readonly FetchedFrame[] = [];
  #sinceMs = 0;

  get any(): boolean {
    return this.#chunk.length > 0;
  }

  put(chunk: readonly FetchedFrame[], nowMs: number): void {
    if (this.any) throw new Error('one chunk of fetched frames at a time');
    this.#chunk = chunk;
    this.#sinceMs = nowMs;
  }

  clear(): void {
    this.#chunk = [];
  }

  /**
   * Offers them run by run: while a parser or writer is free, and in any case one run after WAIT_MS. False when even
   * that one did not fit: nothing else may go before it.
   */
  offer(nowMs: number, ring: FetchedTaker): boolean {
    const isUrgent = nowMs - this.#sinceMs >= WAIT_MS;
    let taken = 0;
    for (const frame of this.#chunk) {
      const mayGo = ring.continues(frame) || !ring.isBusy() || (isUrgent && taken === 0);
      if (!mayGo || !ring.accept(frame)) break;
      taken += 1;
    }
    if (taken > 0) {
      this.#chunk = this.#chunk.slice(taken);
      this.#sinceMs = nowMs;
    }
    return !this.any || taken > 0 || !isUrgent;
  }
}
