/**
 * A sink of one table holds about as much as the frames of its batch: below 3 × BUFFER_BYTES (256 MiB) in the worst
 * case of tiny transactions. More than this is a bug, which must not take the machine's memory with it.
 */
export const SINK_BYTES_MAX = 2 ** 30;

/** The least that a sink grows to, bytes. */
const SINK_BYTES_MIN = 64 * 1024;

/** Where a sink's memory comes from. `shared` memory can be read by another thread while it stays here. */
export type SinkMemory = 'own' | 'shared';

/**
 * A growable run of bytes, written big-endian. Its memory can go to another thread (release) and come back (adopt). Writers of rows reserve what they need with `ensure`, write at `length` through `bytes` or `view`, and then
 * move `length` on: the put methods do the same for a single value.
 */
export class ByteSink {
  /** the memory; bytes[0, length) is what was written. Replaced when the sink grows. */
  bytes: Uint8Array = new Uint8Array(0);
  /** the same memory */
  view: DataView = new DataView(this.bytes.buffer);
  length = 0;
  readonly #memory: SinkMemory;

  constructor(memory: SinkMemory = 'own') {
    this.#memory = memory;
  }

  /** Forgets what was written and keeps the memory. */
  reset(): void {
    this.length = 0;
  }

  /** Takes this memory instead of its own, and is empty. The buffer must not be detached. */
  adopt(buffer: ArrayBufferLike): void {
    this.bytes = new Uint8Array(buffer);
    this.view = new DataView(buffer);
    this.length = 0;
  }

  /** Gives away what was written, with the whole memory below it (`.buffer`), and is empty. */
  release(): Uint8Array {
    const written = this.bytes.subarray(0, this.length);
    this.adopt(new ArrayBuffer(0)); // its own: a shared empty buffer would be detached for every sink by one transfer
    return written;
  }

  /**
   * Makes room for `count` more bytes.
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
