import type { WaitingFrame } from './reorder-buffer.ts';
import type { ReaderCounts } from './counts.ts';
import type { Ring } from '../ring.ts';

export interface PausedStream {
  pause(): void;
  resume(): void;
}

/**
 * Frames delivered after the ring ran out of capacity, in order. The stream is paused meanwhile, so the backlog is
 * bounded by what grpc-js delivers after pause().
 */
export class Backlog {
  readonly #ring: Ring;
  readonly #counts: ReaderCounts;
  readonly #stream: PausedStream;
  #frames: WaitingFrame[] = [];
  /** the stream is paused */
  waits = false;

  constructor(ring: Ring, counts: ReaderCounts, stream: PausedStream) {
    this.#ring = ring;
    this.#counts = counts;
    this.#stream = stream;
  }

  get frames(): readonly WaitingFrame[] {
    return this.#frames;
  }

  put(bytes: Uint8Array, arrivedMs: number): void {
    this.#frames.push({ bytes, arrivedMs });
    this.wait();
  }

  /** The first of them were placed. */
  took(frames: number): void {
    if (frames > 0) this.#frames = this.#frames.slice(frames);
  }

  clear(): void {
    this.#frames = [];
  }

  wait(): void {
    if (this.waits) return;
    this.#setWaiting(true);
    this.#counts.pauses += 1;
    this.#stream.pause();
  }

  wake(): void {
    this.#setWaiting(false);
    this.#stream.resume();
  }

  /** The stream is over: nothing waits any more. */
  abandon(): void {
    this.clear();
    this.#setWaiting(false);
  }

  #setWaiting(waits: boolean): void {
    this.waits = waits;
    this.#ring.readerWaits = waits;
  }
}
