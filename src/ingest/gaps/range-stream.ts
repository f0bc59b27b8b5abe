import { u64At } from '../../core/chain/u64.ts';
import { scanTickNumber } from '../../core/chain/wire.ts';
import type { TickRange } from '../../core/ingest/ranges.ts';
import { streamVerdict } from '../../core/retry.ts';
import type { Clock } from '../../core/time.ts';
import { WakeableWait } from '../../core/wait.ts';
import type { FetchedFrame } from './fetched-frames.ts';
import { serverDown } from './pass.ts';
import type { StreamFailure, TickServer } from '../sequencer/connection.ts';

export interface RangeStreamLimits {
  /** number of frames, and their bytes, after which the stream is paused until they are taken */
  streamTicks: number;
  chunkBytes: number;
  /** ticks after which other waiting gaps get their turn */
  turnTicks: number;
  /** frames are handed over when no further one arrived for this long, ms */
  flushMs: number;
  /** a stream that is silent for this long has nothing more, ms */
  stallMs: number;
}

/** Some frames of a streamed range. */
export interface StreamedChunk {
  /** in order of `due` */
  frames: FetchedFrame[];
  /** everything of the range up to here was received or left out; first − 1 before the first frame */
  upTo: bigint;
  /** null: there is more. whole: the end of the range was reached; silent: nothing arrived for stallMs */
  end: 'whole' | 'silent' | StreamFailure | null;
}

/** The largest number that the store accepts has this upper word. */
const HIGHEST_HI = 0x7fff_ffff;

/**
 * Reads one range from its own stream, a chunk at a time: the stream is paused between two chunks, so its memory is one
 * chunk plus what gRPC had already decoded.
 */
export class RangeStream {
  readonly #server: TickServer;
  readonly #range: TickRange;
  readonly #limits: RangeStreamLimits;
  readonly #clock: Clock;
  readonly #number = new Uint32Array(2);
  #frames: FetchedFrame[] = [];
  #bytes = 0;
  #upTo: bigint;
  #heardMs = 0;
  #end: StreamedChunk['end'] = null;
  readonly #pause = new WakeableWait();

  constructor(server: TickServer, range: TickRange, limits: RangeStreamLimits, clock: Clock) {
    this.#server = server;
    this.#range = range;
    this.#limits = limits;
    this.#clock = clock;
    this.#upTo = range.first - 1n;
    this.#heardMs = clock.monotonicMs();
    server.stream(range.first, {
      frame: (bytes) => this.#frame(bytes),
      ended: (failure) => this.#over(failure),
    });
  }

  /** Call it again until `end` is not null. */
  async next(): Promise<StreamedChunk> {
    this.#heardMs = this.#clock.monotonicMs();
    this.#server.resume();
    for (let restMs = this.#restMs(); restMs > 0; restMs = this.#restMs()) await this.#pause.wait(restMs);
    if (this.#end === null && this.#frames.length === 0) this.#over('silent');
    if (this.#end === null) this.#server.pause();
    const frames = this.#frames.sort(inOrder);
    this.#frames = [];
    this.#bytes = 0;
    if (this.#end === 'whole') this.#upTo = this.#range.last;
    return { frames, upTo: this.#upTo, end: this.#end };
  }

  close(): void {
    this.#over('silent');
    this.#server.endStream();
  }

  /** How long next() may still wait, ms; 0 when a chunk is ready. */
  #restMs(): number {
    const { streamTicks, chunkBytes, flushMs, stallMs } = this.#limits;
    if (this.#end !== null || this.#frames.length >= streamTicks || this.#bytes >= chunkBytes) return 0;
    const limitMs = this.#frames.length > 0 ? flushMs : stallMs;
    return Math.max(0, this.#heardMs + limitMs - this.#clock.monotonicMs());
  }

  #frame(bytes: Uint8Array): void {
    if (this.#end !== null) return;
    this.#heardMs = this.#clock.monotonicMs();
    const words = this.#number;
    const usable = scanTickNumber(bytes, 0, bytes.length, words) === 0 && words[0] <= HIGHEST_HI;
    const number = usable ? u64At(words, 0) : null;
    const due = number ?? this.#upTo + 1n;
    if (due > this.#range.last) {
      this.#over('whole');
      return;
    }
    // late, out-of-order frames are kept as well: the sequence decides whether they are still missing
    if (due < this.#range.first) return;
    this.#frames.push({ number, due, bytes });
    this.#bytes += bytes.length;
    if (number !== null && number > this.#upTo) this.#upTo = number;
    if (this.#upTo === this.#range.last) this.#over('whole');
    else if (this.#restMs() === 0) {
      this.#server.pause();
      this.#pause.wake();
    }
  }

  #over(end: NonNullable<StreamedChunk['end']>): void {
    this.#end ??= end;
    this.#pause.wake();
  }
}

/** A frame without a number precedes the one whose position it took. */
function inOrder(a: FetchedFrame, b: FetchedFrame): number {
  if (a.due !== b.due) return a.due < b.due ? -1 : 1;
  return a.number === b.number ? 0 : a.number === null ? -1 : 1;
}

/**
 * Whether a stream can be opened at this number: some frame arrives, or it stays open and silent for silentMs. Rejects
 * when it fails for any reason other than that this position is not served.
 */
export async function streamsFrom(server: TickServer, number: bigint, silentMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | null = null;
  try {
    return await new Promise<boolean>((resolve, reject) => {
      timer = setTimeout(() => resolve(true), silentMs);
      server.stream(number, {
        frame: () => resolve(true),
        ended: (failure) =>
          streamVerdict(failure) === 'position_not_served' ? resolve(false) : reject(serverDown(failure)),
      });
    });
  } finally {
    if (timer !== null) clearTimeout(timer);
    server.endStream();
  }
}
