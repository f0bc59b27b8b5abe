import type { OrderedTransaction, Tick, Transaction, VdfProof } from './tick.ts';

/**
 * A Tick as protobuf bytes in the canonical form: fields in the order of their numbers, scalars at their default value
 * left out. vdf_proof and transaction are always there, because a Tick object always holds them.
 * @throws RangeError when a number is no u64
 */
export function encodeTick(tick: Tick): Uint8Array {
  const writer = new WireWriter();
  writer.uint64(1, tick.tickNumber);
  writer.message(2, () => writeProof(writer, tick.vdfProof));
  for (const ordered of tick.transactions) writer.message(3, () => writeOrdered(writer, ordered));
  writer.string(4, tick.transactionBatchHash);
  writer.uint64(5, tick.timestamp);
  writer.string(6, tick.previousOutput);
  return writer.finish();
}

function writeProof(writer: WireWriter, proof: VdfProof): void {
  writer.string(1, proof.input);
  writer.string(2, proof.output);
  writer.string(3, proof.proof);
  writer.uint64(4, proof.iterations);
}

function writeOrdered(writer: WireWriter, ordered: OrderedTransaction): void {
  writer.message(1, () => writeTransaction(writer, ordered.transaction));
  writer.uint64(2, ordered.sequenceNumber);
  writer.string(3, ordered.txHash);
  writer.uint64(4, ordered.ingestionTimestamp);
}

function writeTransaction(writer: WireWriter, transaction: Transaction): void {
  writer.bytes(1, transaction.txId);
  writer.bytes(2, transaction.payload);
  writer.bytes(3, transaction.signature);
  writer.bytes(4, transaction.publicKey);
  writer.uint64(5, transaction.nonce);
  writer.uint64(6, transaction.timestamp);
}

const VARINT = 0;
const FIXED64 = 1;
const LENGTH_DELIMITED = 2;
/** a varint of 64 bits */
const VARINT_BYTES_MAX = 10;
const U64_MAX = 0xffff_ffff_ffff_ffffn;

/** Protobuf fields one after the other into a buffer that grows. A scalar at its proto3 default writes nothing. */
export class WireWriter {
  #buffer: Buffer;
  #length = 0;

  constructor(capacityBytes = 2048) {
    this.#buffer = Buffer.allocUnsafe(capacityBytes);
  }

  /** @throws RangeError outside 0…2^64−1 */
  uint64(field: number, value: bigint): void {
    if (value === 0n) return;
    if (value < 0n || value > U64_MAX) throw new RangeError(`${value} is no u64`);
    this.#tag(field, VARINT);
    this.#varint(value);
  }

  bool(field: number, value: boolean): void {
    this.uint64(field, value ? 1n : 0n);
  }

  double(field: number, value: number): void {
    if (Object.is(value, 0)) return; // -0 is not the default and has bytes of its own
    this.#tag(field, FIXED64);
    this.#reserve(8);
    this.#length = this.#buffer.writeDoubleLE(value, this.#length);
  }

  bytes(field: number, value: Uint8Array): void {
    if (value.length > 0) this.embedded(field, value);
  }

  string(field: number, value: string): void {
    if (value === '') return;
    const byteLength = Buffer.byteLength(value, 'utf8');
    this.#tag(field, LENGTH_DELIMITED);
    this.#varint(BigInt(byteLength));
    this.#reserve(byteLength);
    this.#length += this.#buffer.write(value, this.#length, byteLength, 'utf8');
  }

  /** A message that is encoded already; present even when empty. */
  embedded(field: number, message: Uint8Array): void {
    this.#tag(field, LENGTH_DELIMITED);
    this.#varint(BigInt(message.length));
    this.#reserve(message.length);
    this.#buffer.set(message, this.#length);
    this.#length += message.length;
  }

  /** A message whose fields `write` puts into this same writer; present even when empty. */
  message(field: number, write: () => void): void {
    this.#tag(field, LENGTH_DELIMITED);
    const lengthAt = this.#length;
    write();
    const byteLength = this.#length - lengthAt;
    // The length stands before the content but is known after it: the content moves by the size of its length.
    this.#varint(BigInt(byteLength));
    const prefixBytes = this.#length - lengthAt - byteLength;
    this.#buffer.copyWithin(lengthAt + prefixBytes, lengthAt, lengthAt + byteLength);
    this.#length = lengthAt;
    this.#varint(BigInt(byteLength));
    this.#length = lengthAt + prefixBytes + byteLength;
  }

  /** What was written, as bytes of their own. */
  finish(): Uint8Array {
    return new Uint8Array(this.#buffer.subarray(0, this.#length));
  }

  #tag(field: number, wireType: number): void {
    this.#varint(BigInt(field * 8 + wireType));
  }

  #varint(value: bigint): void {
    this.#reserve(VARINT_BYTES_MAX);
    let low = Number(value & 0xffff_ffffn);
    let high = Number(value >> 32n);
    while (high > 0 || low > 127) {
      this.#buffer[this.#length++] = (low & 127) | 128;
      low = ((low >>> 7) | (high << 25)) >>> 0;
      high >>>= 7;
    }
    this.#buffer[this.#length++] = low;
  }

  #reserve(byteLength: number): void {
    const needed = this.#length + byteLength;
    if (needed <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2));
    grown.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = grown;
  }
}
