import { TXS_MAX, type ContentOptions } from '../chain/content.ts';
import { TickRenderer } from '../chain/tick-renderer.ts';

const CHUNK_TICKS_MAX = 512;
/** size of a chunk of large ticks, unless a single tick is larger */
const CHUNK_BYTES_AIM = 4 * 1024 * 1024;
/** of 256 bytes each */
const CHECKPOINTS_MAX = 65_536;

/** How many ticks a chunk of such a chain has: a power of two. */
export function chunkTicks(options: ContentOptions): number {
  const transactions = options.txs === 'mixed' ? 1 : Math.min(options.txs, TXS_MAX);
  const oversize = options.oversize === null ? 0 : options.oversize.bytes / Number(options.oversize.every);
  const tickBytes = 1280 + transactions * (300 + options.payloadBytes) + oversize;
  let ticks = CHUNK_TICKS_MAX;
  while (ticks > 1 && ticks * tickBytes > CHUNK_BYTES_AIM) ticks /= 2;
  return ticks;
}

export interface ChunkRequest {
  /** 0 = the chain, 1 = with its fork */
  branch: 0 | 1;
  /** the chunk's ticks have the indexes from chunk · chunkTicks on */
  chunk: number;
}

export interface ChunkReply extends ChunkRequest {
  bytes: Uint8Array<ArrayBuffer>;
  ends: Uint32Array<ArrayBuffer>;
}

/**
 * Makes any chunk of a chain. Each tick needs the output of the one before, so a chunk far ahead costs all those up to
 * it; an earlier one starts from a checkpoint of the outputs. When there are too many checkpoints every other one
 * is dropped, so memory is bounded however long the chain gets.
 */
export class ChunkMaker {
  readonly #options: ContentOptions;
  readonly #chunkTicks: number;
  readonly #checkpointsMax: number;
  readonly #renderers: [TickRenderer, TickRenderer | null];
  /** by branch: previous_output at the start of a chunk */
  readonly #checkpoints: readonly [Map<number, Buffer>, Map<number, Buffer>];
  /** chunks between two checkpoints, by branch */
  readonly #strides: [number, number] = [1, 1];

  constructor(options: ContentOptions, checkpointsMax = CHECKPOINTS_MAX) {
    this.#options = options;
    this.#checkpointsMax = checkpointsMax;
    this.#chunkTicks = chunkTicks(options);
    this.#renderers = [new TickRenderer(options, 0), null];
    this.#checkpoints = [new Map([[0, this.#renderers[0].previousOutput]]), new Map()];
  }

  /** @param passing called with the index of each chunk made on the way */
  make(request: ChunkRequest, passing: (index: number) => void = () => {}): ChunkReply {
    const { branch, chunk } = request;
    const renderer = (this.#renderers[branch] ??= new TickRenderer(this.#options, branch));
    const from = this.#nearest(branch, chunk);
    renderer.previousOutput = from.output;
    let ends = new Uint32Array(0);
    for (let at = from.chunk; at <= chunk; at++) {
      if (at < chunk) passing(at * this.#chunkTicks);
      ends = this.#render(renderer, at);
      this.#remember(this.#owner(branch, at + 1), at + 1, renderer.previousOutput);
    }
    return { branch, chunk, bytes: new Uint8Array(renderer.slab.subarray(0, renderer.length)), ends };
  }

  #render(renderer: TickRenderer, chunk: number): Uint32Array<ArrayBuffer> {
    const ends = new Uint32Array(this.#chunkTicks);
    renderer.length = 0;
    for (let i = 0; i < ends.length; i++) {
      renderer.append(chunk * this.#chunkTicks + i);
      ends[i] = renderer.length;
    }
    return ends;
  }

  /** The branch whose checkpoints hold the start of a chunk: up to the fork both share them. */
  #owner(branch: 0 | 1, chunk: number): 0 | 1 {
    return chunk * this.#chunkTicks <= (this.#options.forkIndex ?? Infinity) ? 0 : branch;
  }

  #nearest(branch: 0 | 1, chunk: number): { chunk: number; output: Buffer } {
    for (let at = chunk; ; at--) {
      const output = this.#checkpoints[this.#owner(branch, at)].get(at);
      if (output !== undefined) return { chunk: at, output };
    }
  }

  #remember(branch: 0 | 1, chunk: number, output: Buffer): void {
    const checkpoints = this.#checkpoints[branch];
    if (chunk % this.#strides[branch] !== 0 || checkpoints.has(chunk)) return;
    checkpoints.set(chunk, output);
    if (checkpoints.size <= this.#checkpointsMax) return;
    this.#strides[branch] *= 2;
    for (const old of checkpoints.keys()) if (old % this.#strides[branch] !== 0) checkpoints.delete(old);
  }
}
