import { INDEX_WORDS } from '../core/copy/transcode.ts';

/**
 * The ring between the reader thread and all others: batch-sized slabs in one SharedArrayBuffer. A slab is freed when
 * its batch is committed, by one atomic word; there is no wrap-around inside a batch. The lowest free slab is taken, so
 * that a quiet daemon touches few pages however large BUFFER_BYTES is.
 *
 *   | words: buffered ticks, in flight, reader waits, batch frames, slab states … | slab 0: index, arrivals, frames | slab 1 … |
 *
 * The layout is defined in this file only.
 */
export interface RingGeometry {
  slabCount: number;
  /** a slab's capacity for frames, bytes */
  slabBytes: number;
  /** maximum frames in a slab */
  framesMax: number;
  /** maximum ticks in the whole ring (BUFFER_SIZE) */
  ticksMax: number;
}

const WORD_BUFFERED_TICKS = 0;
const WORD_IN_FLIGHT = 1;
const WORD_READER_WAITS = 2;
const WORD_BATCH_FRAMES = 3;
const WORD_SLABS = 16;
const HEADER_BYTES = 4096;
const SLABS_MAX = HEADER_BYTES / 4 - WORD_SLABS;

const SLAB_FREE = 0;
const SLAB_TAKEN = 1;

/** A slab much larger than a batch wastes memory, a smaller one cuts the batch: 16 MiB holds BATCH_MAX full ticks. */
const SLAB_BYTES_MAX = 16 * 1024 * 1024;
/** With fewer slabs, reading would wait for writing. */
const SLABS_MIN = 4;

export function planRing(limits: {
  bufferBytes: number;
  bufferTicks: number;
  tickBytesMax: number;
  batchTicksMax: number;
}): RingGeometry {
  const share = Math.floor(limits.bufferBytes / SLABS_MIN);
  const slabBytes = align(Math.max(limits.tickBytesMax, Math.min(share, SLAB_BYTES_MAX)));
  const slabCount = Math.min(SLABS_MAX, Math.max(SLABS_MIN, Math.floor(limits.bufferBytes / slabBytes)));
  return { slabCount, slabBytes, framesMax: limits.batchTicksMax, ticksMax: limits.bufferTicks };
}

export class Ring {
  readonly geometry: RingGeometry;
  readonly memory: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #slabs: readonly Slab[];

  constructor(geometry: RingGeometry, memory?: SharedArrayBuffer) {
    this.geometry = geometry;
    const indexBytes = align(geometry.framesMax * INDEX_WORDS * 4);
    const arrivalBytes = align(geometry.framesMax * 4);
    const stride = indexBytes + arrivalBytes + geometry.slabBytes;
    this.memory = memory ?? new SharedArrayBuffer(HEADER_BYTES + stride * geometry.slabCount);
    this.#words = new Int32Array(this.memory, 0, HEADER_BYTES / 4);
    this.#slabs = Array.from({ length: geometry.slabCount }, (_, id) => {
      const start = HEADER_BYTES + stride * id;
      return {
        id,
        index: new Uint32Array(this.memory, start, geometry.framesMax * INDEX_WORDS),
        arrivals: new Uint32Array(this.memory, start + indexBytes, geometry.framesMax),
        bytes: new Uint8Array(this.memory, start + indexBytes + arrivalBytes, geometry.slabBytes),
      };
    });
  }

  slab(id: number): Slab {
    const slab = this.#slabs[id];
    if (slab === undefined) throw new RangeError(`no slab ${id} in a ring of ${this.geometry.slabCount}`);
    return slab;
  }

  /** A copy of the bytes of a frame, counted from 0. */
  copyFrame(id: number, frame: number): Uint8Array<ArrayBuffer> {
    const { index, bytes } = this.slab(id);
    const offset = index[frame * INDEX_WORDS];
    return Uint8Array.from(bytes.subarray(offset, offset + index[frame * INDEX_WORDS + 1]));
  }

  /** Reader only: the lowest free slab, now taken; undefined when none is free. */
  take(): Slab | undefined {
    for (let id = 0; id < this.geometry.slabCount; id += 1) {
      if (Atomics.compareExchange(this.#words, WORD_SLABS + id, SLAB_FREE, SLAB_TAKEN) === SLAB_FREE)
        return this.slab(id);
    }
    return undefined;
  }

  /** The batch in this slab is committed (or is being read again). */
  free(id: number): void {
    if (Atomics.compareExchange(this.#words, WORD_SLABS + id, SLAB_TAKEN, SLAB_FREE) !== SLAB_TAKEN) {
      throw new Error(`slab ${id} was freed twice`);
    }
  }

  get status(): RingStatus {
    return {
      ticks: this.bufferedTicks,
      ticksMax: this.geometry.ticksMax,
      slabs: this.slabsTaken,
      slabsMax: this.geometry.slabCount,
      readerWaits: this.readerWaits,
    };
  }

  /** Most frames of the next batch: framesMax, or fewer while the database is slow. */
  get batchFramesMax(): number {
    const limit = Atomics.load(this.#words, WORD_BATCH_FRAMES);
    return limit === 0 ? this.geometry.framesMax : limit;
  }

  set batchFramesMax(frames: number) {
    Atomics.store(this.#words, WORD_BATCH_FRAMES, frames);
  }

  /** Frees everything. Only while no thread uses the ring. */
  clear(): void {
    this.#words.fill(0);
  }

  /** Ticks between the stream and their commit. */
  get bufferedTicks(): number {
    return Atomics.load(this.#words, WORD_BUFFERED_TICKS);
  }

  addBufferedTicks(change: number): void {
    Atomics.add(this.#words, WORD_BUFFERED_TICKS, change);
  }

  /** Batches sealed and not yet committed. */
  get inFlight(): number {
    return Atomics.load(this.#words, WORD_IN_FLIGHT);
  }

  addInFlight(change: number): void {
    Atomics.add(this.#words, WORD_IN_FLIGHT, change);
  }

  get slabsTaken(): number {
    let taken = 0;
    for (let id = 0; id < this.geometry.slabCount; id += 1)
      taken += Atomics.load(this.#words, WORD_SLABS + id);
    return taken;
  }

  /** Whether the reader has paused the stream until a slab is freed. */
  get readerWaits(): boolean {
    return Atomics.load(this.#words, WORD_READER_WAITS) === 1;
  }

  set readerWaits(waits: boolean) {
    Atomics.store(this.#words, WORD_READER_WAITS, waits ? 1 : 0);
  }
}

/** For operators. */
export interface RingStatus {
  /** between the stream and their commit */
  ticks: number;
  ticksMax: number;
  slabs: number;
  slabsMax: number;
  /** the stream is paused until something is committed */
  readerWaits: boolean;
}

export interface Slab {
  readonly id: number;
  /** INDEX_WORDS words per frame, as transcode() takes them */
  readonly index: Uint32Array;
  /** µs after the batch's first frame, one word per frame */
  readonly arrivals: Uint32Array;
  readonly bytes: Uint8Array;
}

function align(bytes: number): number {
  return Math.ceil(bytes / 4096) * 4096;
}
