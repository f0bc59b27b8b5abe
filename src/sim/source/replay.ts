import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { encodeTick } from '../../core/chain/encode.ts';
import { parseTickJson, TickJsonError } from '../../core/chain/tick-json.ts';
import { Chunk } from './chunk.ts';
import type { TickSource } from './source.ts';
import { GRPC_PREFIX_BYTES } from '../chain/tick-renderer.ts';

const CHUNK_TICKS = 512;

/** The ticks of a file in the order of its lines, all in memory (about 2.7 KB a tick). Their numbers may have holes. */
export class ReplaySource implements TickSource {
  readonly chunkTicks = CHUNK_TICKS;
  readonly #chunks: Chunk[] = [];
  readonly #numbers: bigint[] = [];
  /** by index, and one more at the end */
  readonly #transactionsBefore: bigint[] = [0n];
  #ascending = true;

  private constructor() {}

  /**
   * @param path JSON lines, a tick in proto3-JSON on each; empty lines are skipped
   * @throws Error with file and line when one is not a tick
   */
  static async read(path: string): Promise<ReplaySource> {
    const source = new ReplaySource();
    let frames: Uint8Array[] = [];
    let line = 0;
    for await (const text of createInterface({ input: createReadStream(path), crlfDelay: Infinity })) {
      line += 1;
      if (text.trim() === '') continue;
      try {
        frames.push(source.#add(text));
      } catch (error) {
        if (!(error instanceof TickJsonError)) throw error;
        throw new Error(`${path}:${line}: ${error.message}`, { cause: error });
      }
      if (frames.length === CHUNK_TICKS) {
        source.#seal(frames);
        frames = [];
      }
    }
    if (frames.length > 0) source.#seal(frames);
    return source;
  }

  get size(): number {
    return this.#numbers.length;
  }

  numberAt(index: number): bigint {
    return this.#numbers[index];
  }

  indexFrom(number: bigint): number {
    if (!this.#ascending) {
      const index = this.#numbers.findIndex((other) => other >= number);
      return index < 0 ? this.size : index;
    }
    let low = 0;
    let high = this.size;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#numbers[middle] < number) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  indexOf(number: bigint): number {
    if (!this.#ascending) return this.#numbers.indexOf(number);
    const index = this.indexFrom(number);
    return index < this.size && this.#numbers[index] === number ? index : -1;
  }

  transactionsBefore(index: number): bigint {
    return this.#transactionsBefore[index];
  }

  chunk(_branch: 0 | 1, chunk: number): Promise<Chunk> {
    return Promise.resolve(this.#chunks[chunk]);
  }

  prefetch(): void {
    // everything is in memory
  }

  async close(): Promise<void> {
    // holds nothing open
  }

  #add(text: string): Uint8Array {
    const tick = parseTickJson(text);
    const before = this.#numbers.at(-1);
    if (before !== undefined && tick.tickNumber <= before) this.#ascending = false;
    this.#numbers.push(tick.tickNumber);
    this.#transactionsBefore.push(this.#transactionsBefore.at(-1)! + BigInt(tick.transactions.length));
    return grpcFrame(encodeTick(tick));
  }

  #seal(frames: readonly Uint8Array[]): void {
    let end = 0;
    const ends = Uint32Array.from(frames, (frame) => (end += frame.length));
    this.#chunks.push(new Chunk(this.#chunks.length * CHUNK_TICKS, Buffer.concat(frames), ends));
  }
}

/** A message with its gRPC prefix: not compressed, and its length. */
export function grpcFrame(message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(GRPC_PREFIX_BYTES + message.length);
  frame[0] = 0;
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, GRPC_PREFIX_BYTES);
  return frame;
}
