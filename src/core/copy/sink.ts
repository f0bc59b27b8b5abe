/**
 * A table's sink holds about as much as the frames of its batch: below 3 × BUFFER_BYTES (256 MiB) in the worst case of
 * tiny transactions. More than this limit is a bug, which must not exhaust the machine's memory.
 */
export const SINK_BYTES_MAX = 2 ** 30;

/** The smallest size a sink grows to, bytes. */
const SINK_BYTES_MIN = 64 * 1024;

/** The kind of a sink's memory. `shared` memory can be read by another thread without being transferred. */
export type SinkMemory = 'own' | 'shared';

/**
 * A growable run of bytes, written big-endian. Its memory can go to another thread (release) and come back (adopt).
 * Row writers reserve what they need with `ensure`, write at `length` through `bytes` or `view`, and then advance
 * `length`; the put methods do the same for a single value.
 */
export class ByteSink {
  /** the memory; bytes[0, length) is the content. Replaced when the sink grows. */
  bytes: Uint8Array = new Uint8Array(0);
  /** the same memory */
  view: DataView = new DataView(this.bytes.buffer);
  length = 0;
  readonly #memory: SinkMemory;

  constructor(memory: SinkMemory = 'own') {
    this.#memory = memory;
  }

  /** Discards the content and keeps the memory. */
  reset(): void {
    this.length = 0;
  }

  /** Replaces the memory; the sink is empty then. The buffer must not be detached. */
  adopt(buffer: ArrayBufferLike): void {
    this.bytes = new Uint8Array(buffer);
    this.view = new DataView(buffer);
    this.length = 0;
  }

  /** Gives away the content with all of its memory (`.buffer`); the sink is empty then. */
  release(): Uint8Array {
    const written = this.bytes.subarray(0, this.length);
    this.adopt(new ArrayBuffer(0)); // a new one each time: a shared empty buffer would be detached for all sinks by one transfer
    return written;
  }

  /**
   * Grows the memory, if needed, to fit `count` more bytes.
   * @throws RangeError above SINK_BYTES_MAX
   */
  ensure(count: number): void {
    if (this.length + count > this.bytes.length) this.#grow(this.length + count);
  }

  putInt16(value: number): void {
    this.ensure(2);
    this.view.setInt16(this.length, value);
    this.length += 2;
  }

  putInt32(value: number): void {
    this.ensure(4);
    this.view.setInt32(this.length, value);
    this.length += 4;
  }

  putBytes(bytes: Uint8Array): void {
    this.ensure(bytes.length);
    this.bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  #grow(needed: number): void {
    if (needed > SINK_BYTES_MAX) {
      throw new RangeError(`a COPY sink would need ${needed} bytes, above its limit of ${SINK_BYTES_MAX}`);
    }
    const doubled = Math.min(SINK_BYTES_MAX, this.bytes.length * 2);
    const size = Math.max(SINK_BYTES_MIN, doubled, needed);
    const larger = new Uint8Array(
      this.#memory === 'shared' ? new SharedArrayBuffer(size) : new ArrayBuffer(size),
    );
    larger.set(this.bytes.subarray(0, this.length));
    this.bytes = larger;
    this.view = new DataView(larger.buffer);
  }
}
