import { hash } from 'node:crypto';
import { VDF_OUTPUT_BYTES, vdfOutput } from '../../core/chain/hash.ts';
import { joinWords } from '../../core/chain/u64.ts';
import { drawCount, forkSeed, genesisOutput, tickState, type ContentOptions } from './content.ts';
import { TransactionContent } from './transaction-content.ts';

/** compressed flag and length in front of every gRPC message */
export const GRPC_PREFIX_BYTES = 5;

const HASH_BYTES = 32;
/** everything in a tick but its transactions, with prefix and the longest numbers */
const TICK_BYTES_MAX = 1280;
/** everything in a transaction but what TransactionContent holds */
const TRANSACTION_BYTES_MAX = 256;

/**
 * Renders ticks of one chain in order, as gRPC messages with their prefix, straight into a slab: no object per tick, so
 * that a benchmark beside it does not measure the simulator. What it writes is canonical (encodeTick writes the same).
 */
export class TickRenderer {
  /** where the next tick goes, and how much of the slab is used */
  length = 0;
  slab = Buffer.allocUnsafeSlow(1 << 20);
  readonly #options: ContentOptions;
  readonly #branch: 0 | 1;
  readonly #contents: readonly [TransactionContent, TransactionContent];
  readonly #firstHigh: number;
  readonly #firstLow: number;
  /** previous_output ‖ batch_hash ‖ be64(tick_number): what the VDF input is the hash of */
  readonly #vdfPreimage = Buffer.alloc(VDF_OUTPUT_BYTES + HASH_BYTES + 8);
  readonly #previousHex = Buffer.alloc(VDF_OUTPUT_BYTES * 2);
  readonly #vdfInput = Buffer.alloc(HASH_BYTES);
  /** the tick's transaction hashes one after the other */
  #txHashes = Buffer.alloc(HASH_BYTES * 8);

  /** @param branch 0 = the chain, 1 = its fork, which differs from options.forkIndex on */
  constructor(options: ContentOptions, branch: 0 | 1) {
    this.#options = options;
    this.#branch = branch;
    const content = new TransactionContent(options, options.seed);
    this.#contents = [
      content,
      branch === 0 ? content : new TransactionContent(options, forkSeed(options.seed)),
    ];
    this.#firstHigh = Number(options.first >> 32n);
    this.#firstLow = Number(options.first & 0xffff_ffffn);
    this.previousOutput = genesisOutput(options.seed);
  }

  /** The output of the last tick, for the next one. */
  get previousOutput(): Buffer {
    return Buffer.from(this.#vdfPreimage.subarray(0, VDF_OUTPUT_BYTES));
  }

  set previousOutput(output: Uint8Array) {
    this.#vdfPreimage.set(output, 0);
    putHex(this.#previousHex, 0, output, 0, output.length);
  }

  /** Appends the tick with this index; previousOutput must be that of the tick before, and is this one's afterwards. */
  append(index: number): void {
    const options = this.#options;
    const sum = this.#firstLow + index; // below 2^53
    const low = sum >>> 0;
    const high = (this.#firstHigh + Math.floor(sum / 2 ** 32)) >>> 0;
    const forked = this.#branch === 1 && index >= (options.forkIndex ?? Infinity);
    const state = tickState(forked ? forkSeed(options.seed) : options.seed, high, low);
    const micros =
      options.startMicros + Math.floor((index * 1_000_000) / options.ticksPerSecond) + (forked ? 1 : 0);
    const oversize = options.oversize !== null && joinWords(high, low) % options.oversize.every === 0n;
    const count = Math.max(drawCount(options.txs, state), forked || oversize ? 1 : 0);

    this.#reserve(TICK_BYTES_MAX);
    const start = this.length;
    this.length += GRPC_PREFIX_BYTES;
    this.#varintField(8, high, low);
    const proofAt = this.length;
    const proofBytes = proofLength(options.vdf);
    this.length += proofBytes; // reserved; its content depends on the transactions after it

    if (this.#txHashes.length < count * HASH_BYTES) this.#txHashes = Buffer.alloc(count * HASH_BYTES);
    const content = this.#contents[forked ? 1 : 0];
    for (let place = 0; place < count; place++) {
      content.fill(state, low, place, micros, oversize && place === 0);
      this.#transaction(content, high, low, place, micros);
    }

    const batchHashAt = VDF_OUTPUT_BYTES;
    sha256Into(this.#vdfPreimage, batchHashAt, this.#txHashes.subarray(0, count * HASH_BYTES));
    this.#hexField(34, this.#vdfPreimage, batchHashAt, HASH_BYTES);
    this.#varintField(40, Math.floor(micros / 2 ** 32), micros % 2 ** 32);
    this.#reserve(this.#previousHex.length + 8);
    this.#lengthField(50, this.#previousHex.length);
    this.slab.set(this.#previousHex, this.length);
    this.length += this.#previousHex.length;

    putWord(this.#vdfPreimage, batchHashAt + HASH_BYTES, high);
    putWord(this.#vdfPreimage, batchHashAt + HASH_BYTES + 4, low);
    this.#proof(proofAt);
    this.slab[start] = 0;
    putWord(this.slab, start + 1, this.length - start - GRPC_PREFIX_BYTES);
  }

  #transaction(content: TransactionContent, high: number, low: number, place: number, micros: number): void {
    this.#reserve(content.end + TRANSACTION_BYTES_MAX);
    sha256Into(this.#txHashes, place * HASH_BYTES, content.bytes.subarray(0, content.end));
    const inner =
      runLength(content.idEnd) +
      runLength(content.payloadEnd - content.idEnd) +
      runLength(content.signatureEnd - content.payloadEnd) +
      runLength(content.publicKeyEnd - content.signatureEnd) +
      fieldLength(content.nonceHigh, content.nonceLow) +
      fieldLength(content.timestampHigh, content.timestampLow);
    const sequenceHigh = (high & 0xffff) * 1024 + (low >>> 22);
    const sequenceLow = ((low << 10) | place) >>> 0;
    const ingestion = micros - 256 + (place & 255);
    const ingestionHigh = Math.floor(ingestion / 2 ** 32);
    const ingestionLow = ingestion % 2 ** 32;
    const outer =
      runLength(inner) +
      fieldLength(sequenceHigh, sequenceLow) +
      runLength(2 * HASH_BYTES) +
      fieldLength(ingestionHigh, ingestionLow);

    this.#lengthField(26, outer);
    this.#lengthField(10, inner);
    this.#run(10, content.bytes, 0, content.idEnd);
    this.#run(18, content.bytes, content.idEnd, content.payloadEnd);
    this.#run(26, content.bytes, content.payloadEnd, content.signatureEnd);
    this.#run(34, content.bytes, content.signatureEnd, content.publicKeyEnd);
    this.#varintField(40, content.nonceHigh, content.nonceLow);
    this.#varintField(48, content.timestampHigh, content.timestampLow);
    this.#varintField(16, sequenceHigh, sequenceLow);
    this.#hexField(26, this.#txHashes, place * HASH_BYTES, HASH_BYTES);
    this.#varintField(32, ingestionHigh, ingestionLow);
  }

  /** Writes vdf_proof into the space reserved for it; its output becomes the previous one. */
  #proof(at: number): void {
    const end = this.length;
    this.length = at;
    sha256Into(this.#vdfInput, 0, this.#vdfPreimage);
    const real = this.#options.vdf === 'real';
    if (real) this.previousOutput = vdfOutput(this.#vdfInput, REAL_ITERATIONS);
    else this.#seedBecomesOutput();
    this.#lengthField(18, proofLength(this.#options.vdf) - 3);
    this.#hexField(10, this.#vdfInput, 0, HASH_BYTES);
    this.#lengthField(18, this.#previousHex.length);
    this.slab.set(this.#previousHex, this.length);
    this.length += this.#previousHex.length;
    this.#hexField(26, PROOF, 0, PROOF.length);
    if (real) this.#varintField(32, 0, Number(REAL_ITERATIONS));
    this.length = end;
  }

  /** core's vdfSeed without its allocations: the low 32 bytes of the output, the others stay zero. */
  #seedBecomesOutput(): void {
    const at = VDF_OUTPUT_BYTES - HASH_BYTES;
    sha256Into(this.#vdfPreimage, at, this.#vdfInput);
    this.#vdfPreimage[VDF_OUTPUT_BYTES - 1] |= 1;
    putHex(this.#previousHex, 2 * at, this.#vdfPreimage, at, HASH_BYTES);
  }

  #varintField(tag: number, high: number, low: number): void {
    if (high === 0 && low === 0) return;
    this.slab[this.length++] = tag;
    this.#varint(high, low);
  }

  #varint(high: number, low: number): void {
    let h = high;
    let l = low;
    while (h > 0 || l > 127) {
      this.slab[this.length++] = (l & 127) | 128;
      l = ((l >>> 7) | (h << 25)) >>> 0;
      h >>>= 7;
    }
    this.slab[this.length++] = l;
  }

  #lengthField(tag: number, byteLength: number): void {
    this.slab[this.length++] = tag;
    this.#varint(0, byteLength);
  }

  #hexField(tag: number, bytes: Uint8Array, start: number, byteLength: number): void {
    this.#lengthField(tag, 2 * byteLength);
    putHex(this.slab, this.length, bytes, start, byteLength);
    this.length += 2 * byteLength;
  }

  #run(tag: number, source: Buffer, start: number, end: number): void {
    if (start === end) return;
    this.#lengthField(tag, end - start);
    source.copy(this.slab, this.length, start, end);
    this.length += end - start;
  }

  #reserve(byteLength: number): void {
    const needed = this.length + byteLength;
    if (needed <= this.slab.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.slab.length * 2));
    this.slab.copy(grown, 0, 0, this.length);
    this.slab = grown;
  }
}

const REAL_ITERATIONS = 27n;
const PROOF = Uint8Array.of(1);
const HEX = Buffer.from('0123456789abcdef', 'latin1');

/** vdf_proof with its tag and length: input, output, proof `01`, and iterations when they are not 0. */
function proofLength(vdf: 'real' | 'fast'): number {
  const inner = runLength(2 * HASH_BYTES) + runLength(2 * VDF_OUTPUT_BYTES) + runLength(2);
  return runLength(inner + (vdf === 'real' ? 2 : 0));
}

function varintLength(high: number, low: number): number {
  if (high === 0) return low < 128 ? 1 : Math.ceil((32 - Math.clz32(low)) / 7);
  return Math.ceil((64 - Math.clz32(high)) / 7);
}

function fieldLength(high: number, low: number): number {
  return high === 0 && low === 0 ? 0 : 1 + varintLength(high, low);
}

/** tag, length and content; nothing when empty */
function runLength(byteLength: number): number {
  return byteLength === 0 ? 0 : 1 + varintLength(0, byteLength) + byteLength;
}

function putWord(target: Uint8Array, at: number, word: number): void {
  target[at] = word >>> 24;
  target[at + 1] = word >>> 16;
  target[at + 2] = word >>> 8;
  target[at + 3] = word;
}

/** crypto.hash gives a string three times as fast as a Buffer. */
function sha256Into(target: Buffer, at: number, bytes: Uint8Array): void {
  target.write(hash('sha256', bytes, 'binary'), at, 'binary');
}

function putHex(target: Uint8Array, at: number, bytes: Uint8Array, start: number, byteLength: number): void {
  for (let i = 0; i < byteLength; i++) {
    const byte = bytes[start + i];
    target[at + 2 * i] = HEX[byte >>> 4];
    target[at + 2 * i + 1] = HEX[byte & 15];
  }
}
