import type { OrderedTransaction, Tick, Transaction, VdfProof } from './tick.ts';

/** Bytes that are no protobuf message. */
export class WireError extends Error {
  /** byte offset at which the message is malformed */
  readonly offset: number;

  constructor(what: string, offset: number) {
    super(`${what} at byte ${offset}`);
    this.name = 'WireError';
    this.offset = offset;
  }
}

/**
 * A Tick from protobuf bytes: fields in any order, the last of repeated scalars wins, embedded messages that repeat are
 * merged, unknown fields, groups and known numbers with another wire type are skipped, what is absent has its default.
 * Texts are read as UTF-8 with U+FFFD for what is none; tx_id stays bytes. The objects share the given bytes' memory.
 * @throws WireError with the byte offset when the bytes are no protobuf message
 */
export function decodeTick(bytes: Uint8Array): Tick {
  const tick: Tick = {
    tickNumber: 0n,
    vdfProof: { input: '', output: '', proof: '', iterations: 0n },
    transactions: [],
    transactionBatchHash: '',
    timestamp: 0n,
    previousOutput: '',
  };
  const reader = new WireReader(bytes);
  reader.message({
    [u64(1)]: () => (tick.tickNumber = reader.uint64()),
    [run(2)]: () => readProof(reader, tick.vdfProof),
    [run(3)]: () => tick.transactions.push(readOrdered(reader)),
    [run(4)]: () => (tick.transactionBatchHash = reader.string()),
    [u64(5)]: () => (tick.timestamp = reader.uint64()),
    [run(6)]: () => (tick.previousOutput = reader.string()),
  });
  return tick;
}

function readProof(reader: WireReader, proof: VdfProof): void {
  reader.embedded({
    [run(1)]: () => (proof.input = reader.string()),
    [run(2)]: () => (proof.output = reader.string()),
    [run(3)]: () => (proof.proof = reader.string()),
    [u64(4)]: () => (proof.iterations = reader.uint64()),
  });
}

function readOrdered(reader: WireReader): OrderedTransaction {
  const none = new Uint8Array(0);
  const ordered: OrderedTransaction = {
    transaction: { txId: none, payload: none, signature: none, publicKey: none, nonce: 0n, timestamp: 0n },
    sequenceNumber: 0n,
    txHash: '',
    ingestionTimestamp: 0n,
  };
  reader.embedded({
    [run(1)]: () => readTransaction(reader, ordered.transaction),
    [u64(2)]: () => (ordered.sequenceNumber = reader.uint64()),
    [run(3)]: () => (ordered.txHash = reader.string()),
    [u64(4)]: () => (ordered.ingestionTimestamp = reader.uint64()),
  });
  return ordered;
}

function readTransaction(reader: WireReader, transaction: Transaction): void {
  reader.embedded({
    [run(1)]: () => (transaction.txId = reader.bytes()),
    [run(2)]: () => (transaction.payload = reader.bytes()),
    [run(3)]: () => (transaction.signature = reader.bytes()),
    [run(4)]: () => (transaction.publicKey = reader.bytes()),
    [u64(5)]: () => (transaction.nonce = reader.uint64()),
    [u64(6)]: () => (transaction.timestamp = reader.uint64()),
  });
}

/** What to do with a field, by its tag (number and wire type); any other tag is skipped. */
export type FieldReaders = Readonly<Record<number, () => unknown>>;

const VARINT = 0;
const FIXED64 = 1;
const LENGTH_DELIMITED = 2;
const GROUP_START = 3;
const GROUP_END = 4;
const FIXED32 = 5;
/** field numbers have 29 bits */
const TAG_MAX = 2 ** 32 - 1;
/** where official implementations stop too */
const GROUP_DEPTH_MAX = 100;

/** the tag of a u64 field */
export function u64(field: number): number {
  return field * 8 + VARINT;
}

/** the tag of a string, bytes or message field */
export function run(field: number): number {
  return field * 8 + LENGTH_DELIMITED;
}

/** Reads one message and those inside it. Every method that reads a value may be called once per field. */
export class WireReader {
  readonly #bytes: Buffer;
  #position = 0;
  /** end of the message being read */
  #end: number;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#end = bytes.length;
  }

  /** The message that fills the bytes to the end. */
  message(readers: FieldReaders): void {
    while (this.#position < this.#end) {
      const at = this.#position;
      const tag = this.#tag();
      const read = readers[tag];
      if (read === undefined) this.#skip(tag, at);
      else read();
    }
  }

  /** A length-delimited message at the current position. */
  embedded(readers: FieldReaders): void {
    const length = this.#length();
    const outerEnd = this.#end;
    this.#end = this.#position + length;
    this.message(readers);
    this.#end = outerEnd;
  }

  uint64(): bigint {
    const start = this.#position;
    let low = 0;
    // Seven bytes are 49 bits, exact in a number: most values need no BigInt arithmetic.
    for (let weight = 1; weight < 2 ** 49; weight *= 128) {
      const byte = this.#varintByte(start);
      low += (byte & 127) * weight;
      if (byte < 128) return BigInt(low);
    }
    let value = BigInt(low);
    for (let shift = 49n; ; shift += 7n) {
      const byte = this.#varintByte(start);
      if (shift === 63n && byte > 1) throw new WireError('a varint of more than 64 bits', start);
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  }

  bytes(): Uint8Array {
    const length = this.#length();
    const start = this.#position;
    this.#position += length;
    return new Uint8Array(this.#bytes.buffer, this.#bytes.byteOffset + start, length);
  }

  string(): string {
    const length = this.#length();
    const start = this.#position;
    this.#position += length;
    return this.#bytes.toString('utf8', start, start + length);
  }

  #varintByte(start: number): number {
    if (this.#position >= this.#end) throw new WireError('the message ends inside a varint', start);
    return this.#bytes[this.#position++];
  }

  #tag(): number {
    const start = this.#position;
    const tag = Number(this.uint64()); // inexact above 2^53, and refused there
    if (tag < 8 || tag > TAG_MAX) throw new WireError('a field number that cannot be', start);
    return tag;
  }

  #length(): number {
    const start = this.#position;
    const length = this.uint64();
    if (length > BigInt(this.#end - this.#position)) {
      throw new WireError(`a length of ${length} bytes runs beyond the end of its message`, start);
    }
    return Number(length);
  }

  #skip(tag: number, at: number): void {
    switch (tag % 8) {
      case VARINT:
        this.uint64();
        return;
      case FIXED64:
        this.#advance(8, at);
        return;
      case LENGTH_DELIMITED: {
        const length = this.#length();
        this.#position += length;
        return;
      }
      case GROUP_START:
        this.#skipGroup(fieldOf(tag), at);
        return;
      case GROUP_END:
        throw new WireError('the end of a group that was not begun', at);
      case FIXED32:
        this.#advance(4, at);
        return;
      default:
        throw new WireError(`wire type ${tag % 8}`, at);
    }
  }

  /** With a stack of its own instead of recursion: the depth is the sender's to choose. */
  #skipGroup(field: number, at: number): void {
    const open = [field];
    while (open.length > 0) {
      if (this.#position >= this.#end) throw new WireError('the message ends inside a group', at);
      const start = this.#position;
      const tag = this.#tag();
      if (tag % 8 === GROUP_START) {
        if (open.length === GROUP_DEPTH_MAX) throw new WireError('groups nested too deep', start);
        open.push(fieldOf(tag));
      } else if (tag % 8 === GROUP_END) {
        if (open.pop() !== fieldOf(tag)) throw new WireError('the end of another group', start);
      } else {
        this.#skip(tag, start);
      }
    }
  }

  #advance(byteLength: number, at: number): void {
    if (byteLength > this.#end - this.#position) throw new WireError('the message ends inside a field', at);
    this.#position += byteLength;
  }
}

function fieldOf(tag: number): number {
  return Math.floor(tag / 8);
}
