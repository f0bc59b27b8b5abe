import { strict as assert } from 'node:assert';

/** map 16: reserves space for the count, which is known only at the end */
const HEADER_BYTES = 3;

/** Writes one msgpack map of ASCII names and values, entry by entry. */
export class MsgpackMap {
  readonly #bytes: Buffer;
  #entries = 0;
  #at = HEADER_BYTES;

  /** @param maxBytes upper limit of all entries together; asserted by bytes() */
  constructor(maxBytes: number) {
    this.#bytes = Buffer.allocUnsafe(maxBytes);
  }

  text(name: string, value: string): void {
    this.#name(name);
    this.#string(value);
  }

  double(name: string, value: number): void {
    this.#name(name);
    this.#bytes[this.#at] = 0xcb;
    this.#at = this.#bytes.writeDoubleBE(value, this.#at + 1);
  }

  /** 0 … 2^64 − 1, in 1, 5 or 9 bytes */
  whole(name: string, value: bigint): void {
    this.#name(name);
    if (value <= 0x7fn) {
      this.#at = this.#bytes.writeUInt8(Number(value), this.#at);
    } else if (value <= 0xffff_ffffn) {
      this.#bytes[this.#at] = 0xce;
      this.#at = this.#bytes.writeUInt32BE(Number(value), this.#at + 1);
    } else {
      this.#bytes[this.#at] = 0xcf;
      this.#at = this.#bytes.writeBigUInt64BE(value, this.#at + 1);
    }
  }

  /** A copy of what was written. */
  bytes(): Uint8Array {
    assert(this.#at <= this.#bytes.length, 'a msgpack map longer than it was said to be');
    this.#bytes[0] = 0xde;
    this.#bytes.writeUInt16BE(this.#entries, 1);
    return this.#bytes.subarray(0, this.#at);
  }

  #name(name: string): void {
    this.#entries += 1;
    this.#string(name);
  }

  /** Up to 255 ASCII characters. */
  #string(text: string): void {
    if (text.length <= 31) {
      this.#bytes[this.#at] = 0xa0 | text.length;
      this.#at += 1;
    } else {
      this.#bytes[this.#at] = 0xd9;
      this.#at = this.#bytes.writeUInt8(text.length, this.#at + 1);
    }
    this.#bytes.write(text, this.#at, 'latin1'); // truncated at the end of the memory, so bytes() asserts the length
    this.#at += text.length;
  }
}
