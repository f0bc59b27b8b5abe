/** Numbers on their way into bytes, 8 bytes each and little-endian, for a checkpoint. */
export class StateOut {
  #bytes = new DataView(new ArrayBuffer(1024));
  #length = 0;

  f64(value: number): void {
    this.#reserve(8);
    this.#bytes.setFloat64(this.#length, value, true);
    this.#length += 8;
  }

  i64(value: bigint): void {
    this.#reserve(8);
    this.#bytes.setBigInt64(this.#length, value, true);
    this.#length += 8;
  }

  /** As many numbers as there are, and how many. */
  f64s(values: ArrayLike<number>): void {
    this.f64(values.length);
    this.#reserve(8 * values.length);
    for (let at = 0; at < values.length; at += 1) {
      this.#bytes.setFloat64(this.#length, values[at], true);
      this.#length += 8;
    }
  }

  bytes(): Uint8Array {
    return new Uint8Array(this.#bytes.buffer, 0, this.#length).slice();
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#bytes.byteLength) return;
    const larger = new Uint8Array(Math.max(2 * this.#bytes.byteLength, this.#length + count));
    larger.set(new Uint8Array(this.#bytes.buffer, 0, this.#length));
    this.#bytes = new DataView(larger.buffer);
  }
}

/** @throws RangeError when there are fewer bytes than are read */
export class StateIn {
  readonly #bytes: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.byteLength;
  }

  f64(): number {
    const value = this.#bytes.getFloat64(this.#at, true);
    this.#at += 8;
    return value;
  }

  i64(): bigint {
    const value = this.#bytes.getBigInt64(this.#at, true);
    this.#at += 8;
    return value;
  }

  f64s(): Float64Array {
    const count = this.f64();
    if (!Number.isInteger(count) || count < 0 || count * 8 > this.#bytes.byteLength - this.#at)
      throw new RangeError(
        `${count} numbers are stated where ${this.#bytes.byteLength - this.#at} bytes are left`,
      );
    const values = new Float64Array(count);
    for (let at = 0; at < count; at += 1) values[at] = this.f64();
    return values;
  }

  /** Numbers of which there are always as many. */
  f64sInto(values: Float64Array): void {
    const read = this.f64s();
    if (read.length !== values.length)
      throw new RangeError(`${read.length} numbers are stated where there are ${values.length}`);
    values.set(read);
  }
}
