import { Worker } from 'node:worker_threads';
import { Chunk } from './chunk.ts';
import { chunkTicks, type ChunkRequest } from './chunk-maker.ts';
import type { ChunkMessage } from './chunk.worker.ts';
import { transactionCount, type ContentOptions } from '../chain/content.ts';
import type { TickSource } from './source.ts';

const U64_COUNT = 2n ** 64n;
/** under Node's type stripping the sources run, in dist their compiled form */
const WORKER_URL = new URL(
  import.meta.url.endsWith('.ts') ? './chunk.worker.ts' : './chunk.worker.js',
  import.meta.url,
);

export interface GeneratedSourceEvents {
  /** the thread is still far from a requested chunk */
  passing(number: bigint): void;
  /** the thread died; nothing more can be served */
  failed(error: Error): void;
}

class Pending {
  resolve!: (chunk: Chunk) => void;
  readonly chunk = new Promise<Chunk>((resolve) => (this.resolve = resolve));
}

/**
 * Ticks made in their own thread, chunk by chunk. The most recently used chunks stay in memory up to `cacheBytesMax`;
 * dropped ones are made again.
 */
export class GeneratedSource implements TickSource {
  readonly chunkTicks: number;
  readonly size: number;
  readonly #options: ContentOptions;
  readonly #cacheBytesMax: number;
  readonly #worker: Worker;
  /** in the order of last use */
  readonly #cache = new Map<string, Chunk>();
  readonly #pending = new Map<string, Pending>();
  readonly #counted = { index: 0, branch: 0, transactions: 0n };
  cacheBytes = 0;
  /** of the chunk made last */
  #chunkBytes = 0;

  constructor(options: ContentOptions, cacheBytesMax: number, events: GeneratedSourceEvents) {
    this.#options = options;
    this.#cacheBytesMax = cacheBytesMax;
    this.chunkTicks = chunkTicks(options);
    const numbersLeft = U64_COUNT - options.first;
    this.size = numbersLeft > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(numbersLeft);
    this.#worker = new Worker(WORKER_URL, { workerData: options });
    this.#worker.on('message', (message: ChunkMessage) => {
      if ('passingIndex' in message) events.passing(this.numberAt(message.passingIndex));
      else this.#arrived(message, new Chunk(message.chunk * this.chunkTicks, message.bytes, message.ends));
    });
    this.#worker.on('error', (error: Error) => events.failed(error));
  }

  numberAt(index: number): bigint {
    return this.#options.first + BigInt(index);
  }

  indexFrom(number: bigint): number {
    const index = number - this.#options.first;
    if (index <= 0n) return 0;
    return index > BigInt(this.size) ? this.size : Number(index);
  }

  indexOf(number: bigint): number {
    const index = this.indexFrom(number);
    return index < this.size && this.numberAt(index) === number ? index : -1;
  }

  transactionsBefore(index: number, branch: 0 | 1): bigint {
    const { txs, oversize, forkIndex } = this.#options;
    if (txs !== 'mixed' && txs > 0) return BigInt(index) * BigInt(txs);
    if (txs === 0 && oversize === null && branch === 0) return 0n;
    const counted = this.#counted;
    if (counted.branch !== branch || counted.index > index) {
      Object.assign(counted, { index: 0, branch, transactions: 0n });
    }
    let added = 0;
    for (; counted.index < index; counted.index++) {
      const forked = branch === 1 && counted.index >= (forkIndex ?? Infinity);
      added += transactionCount(this.#options, this.numberAt(counted.index), forked);
    }
    counted.transactions += BigInt(added);
    return counted.transactions;
  }

  chunk(branch: 0 | 1, chunk: number): Promise<Chunk> {
    const key = `${branch}:${chunk}`;
    const cached = this.#cache.get(key);
    if (cached === undefined) return this.#ask({ branch, chunk }, key).chunk;
    this.#cache.delete(key);
    this.#cache.set(key, cached);
    return Promise.resolve(cached);
  }

  prefetch(branch: 0 | 1, chunk: number): void {
    const key = `${branch}:${chunk}`;
    // Chunks made ahead must not evict those about to be requested.
    const room = this.#cacheBytesMax >= (this.#pending.size + 2) * this.#chunkBytes;
    if (room && !this.#cache.has(key)) this.#ask({ branch, chunk }, key);
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  #ask(request: ChunkRequest, key: string): Pending {
    const known = this.#pending.get(key);
    if (known !== undefined) return known;
    const pending = new Pending();
    this.#pending.set(key, pending);
    this.#worker.postMessage(request, []);
    return pending;
  }

  #arrived({ branch, chunk }: ChunkRequest, made: Chunk): void {
    const key = `${branch}:${chunk}`;
    this.#cache.set(key, made);
    this.cacheBytes += made.bytes.byteLength;
    this.#chunkBytes = made.bytes.byteLength;
    for (const [oldest, dropped] of this.#cache) {
      if (this.cacheBytes <= this.#cacheBytesMax || oldest === key) break;
      this.#cache.delete(oldest);
      this.cacheBytes -= dropped.bytes.byteLength;
    }
    this.#pending.get(key)?.resolve(made);
    this.#pending.delete(key);
  }
}
