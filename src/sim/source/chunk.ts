import { GRPC_PREFIX_BYTES } from '../chain/tick-renderer.ts';

/** A run of neighbouring ticks of a chain as gRPC messages back to back, ready to be written. Never changed. */
export class Chunk {
  /** index of its first tick */
  readonly first: number;
  readonly bytes: Uint8Array;
  /** ends[i] = where the message of tick `first + i` ends in bytes */
  readonly ends: Uint32Array;

  constructor(first: number, bytes: Uint8Array, ends: Uint32Array) {
    this.first = first;
    this.bytes = bytes;
    this.ends = ends;
  }

  /** one past the index of its last tick */
  get end(): number {
    return this.first + this.ends.length;
  }

  /** The messages of the ticks [from, to) with their prefixes. */
  frames(from: number, to: number): Uint8Array {
    const start = from === this.first ? 0 : this.ends[from - this.first - 1];
    return this.bytes.subarray(start, to === from ? start : this.ends[to - this.first - 1]);
  }

  /** The protobuf bytes of one tick. */
  message(index: number): Uint8Array {
    return this.frames(index, index + 1).subarray(GRPC_PREFIX_BYTES);
  }
}
