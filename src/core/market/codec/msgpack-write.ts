import { strict as assert } from 'node:assert';

/** map 16: reserves space for the count, which is known only at the end */
const HEADER_BYTES = 3;

/** Writes one msgpack map, entry by entry; its names are ASCII. */
export class MsgpackMap {
  readonly #bytes: Buffer;
  #entries = 0;
  #at = HEADER_BYTES;

  /** @param maxBytes upper limit of all entries together; asserted by bytes() */
  constructor(maxBytes: number) {
    this.#bytes = Buffer.allocUnsafe(maxBytes);
  }

  /** Up to 255 bytes of UTF-8. */
  text(name: string, value: string, isAscii = true): void {
    this.#name(name);
    if (isAscii) this.#string(value, value.length, 'latin1');
    else this.#string(value, Buffer.byteLength(value), 'utf8');
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
    this.#string(name, name.length, 'latin1');
  }

  #string(text: string, length: number, encoding: 'latin1' | 'utf8'): void {
    if (length <= 31) {
      this.#bytes[this.#at] = 0xa0 | length;
      this.#at += 1;
    } else {
      this.#bytes[this.#at] = 0xd9;
      this.#at = this.#bytes.writeUInt8(length, this.#at + 1);
    }
    this.#bytes.write(text, this.#at, encoding); // truncated at the end of the memory, so bytes() asserts the length
    this.#at += length;
  }
}
