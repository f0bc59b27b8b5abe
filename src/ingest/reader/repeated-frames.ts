/** A frame whose number was received before: it is compared with what is stored. */
export interface RepeatedFrame {
  number: bigint;
  /** it was stored before this start, and our own resume requested it again */
  isOwn: boolean;
  /** its index among all frames of the run, from 0 */
  ordinal: number;
  bytes: Uint8Array;
}

/** A packet is sent when it has this many frames or bytes, and at every turn of the reader. */
const PACKET_FRAMES = 256;
const PACKET_BYTES = 1024 * 1024;
/** Packets that may be with the main thread at once; beyond that the stream waits. */
const PACKETS_MAX = 4;

/** Collects repeated frames in the reader thread and hands them to the main thread in packets, a few at a time. */
export class RepeatPackets {
  readonly #send: (frames: RepeatedFrame[]) => void;
  #frames: RepeatedFrame[] = [];
  #bytes = 0;
  #out = 0;

  constructor(send: (frames: RepeatedFrame[]) => void) {
    this.#send = send;
  }

  /** False when there is no capacity now: the same frame must be offered again. */
  offer(frame: RepeatedFrame): boolean {
    if (this.#isFull) this.flush();
    if (this.#isFull) return false;
    this.#frames.push(frame);
    this.#bytes += frame.bytes.length;
    return true;
  }

  /** isLast: the stream is closed, and what was taken from it must not be lost. */
  flush(isLast = false): void {
    if (this.#frames.length === 0 || (this.#out >= PACKETS_MAX && !isLast)) return;
    this.#out += 1;
    this.#send(this.#frames);
    this.#frames = [];
    this.#bytes = 0;
  }

  /** The main thread is done with a packet. */
  credit(): void {
    this.#out -= 1;
  }

  get #isFull(): boolean {
    return this.#frames.length >= PACKET_FRAMES || this.#bytes >= PACKET_BYTES;
  }
}
