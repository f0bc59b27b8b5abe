import { ByteSink } from '../../core/copy/sink.ts';
import {
  FRAME_UNNUMBERED,
  INDEX_WORDS,
  transcode,
  type ChainCheckMode,
  type DeadLetter,
  type TranscodeResult,
} from '../../core/copy/transcode.ts';
import type { Ring } from '../ring.ts';
import type { SealedBatch } from '../reader/batch-builder.ts';

/** Adjacent frames of one slab, or the one in `side`. */
export interface ParsedFrames extends Pick<
  SealedBatch,
  'slab' | 'side' | 'frames' | 'first' | 'ticks' | 'previous'
> {
  /** frames of the slab before them */
  from: number;
}

/** One task for the parser pool: a sealed batch, or a part of one, and the recycled memory for its COPY bytes. */
export interface ParseTask {
  batch: ParsedFrames;
  memory: SharedArrayBuffer[];
  /** now, µs since 1970: a tick from more than a day ahead is refused */
  nowMicros: bigint;
  /** TICK_MAX_BYTES */
  tickBytesMax: number;
  check: ChainCheckMode;
}

/**
 * COPY bytes for each table, ready for the socket (CopyData … CopyDone), in shared memory. Transferring ArrayBuffers
 * between threads instead made the main thread spend half its time in garbage collection: V8 counts each one as
 * external memory of every isolate it passes through.
 */
export interface CopyBytes {
  ticks: Uint8Array;
  proofs: Uint8Array;
  transactions: Uint8Array;
}

export interface ParsedBatch extends Omit<TranscodeResult, 'deadLetters'> {
  copy: CopyBytes;
  deadLetters: RawDeadLetter[];
}

/** A dead letter with its bytes, copied out of the ring. */
export interface RawDeadLetter extends Omit<DeadLetter, 'offset' | 'length' | 'reason'> {
  reason: DeadLetter['reason'] | IsolationReason;
  raw: Uint8Array<ArrayBuffer>;
  /** of the database's refusal, else null */
  sqlstate: string | null;
  /** reason conflict: the canonical digest of the stored tick, else null */
  storedSha256: Uint8Array | null;
}

/** Why a tick that the parser accepts is not stored: the database refuses it, or holds a different one. */
export type IsolationReason = 'refused_by_database' | 'conflict';

/** Turns the frames of a batch into COPY bytes. Runs in a parser thread; losing one costs a second run, no data. */
export class BatchParser {
  readonly #ring: Ring;
  readonly #sinks = {
    ticks: new ByteSink('shared'),
    proofs: new ByteSink('shared'),
    transactions: new ByteSink('shared'),
  };

  constructor(ring: Ring) {
    this.#ring = ring;
  }

  parse({ batch, memory, nowMicros, tickBytesMax, check }: ParseTask): ParsedBatch {
    const bytes = batch.slab === null ? batch.side! : this.#ring.slab(batch.slab).bytes;
    const index =
      batch.slab === null
        ? sideIndex(batch)
        : this.#ring.slab(batch.slab).index.subarray(batch.from * INDEX_WORDS);
    const sinks = this.#sinks;
    [sinks.ticks, sinks.proofs, sinks.transactions].forEach((sink, at) => {
      const recycled = memory[at];
      if (recycled !== undefined) sink.adopt(recycled);
    });
    const span = {
      bytes,
      index,
      count: batch.frames,
      firstHi: Number(batch.first >> 32n),
      firstLo: Number(batch.first & 0xffff_ffffn),
    };
    const { deadLetters, ...result } = transcode(span, sinks, {
      nowMicros,
      tickMaxBytes: tickBytesMax,
      check,
      previousOutput: batch.previous === null ? null : Buffer.from(batch.previous, 'latin1'),
    });
    return {
      ...result,
      deadLetters: deadLetters.map(({ offset, length, ...deadLetter }) => ({
        ...deadLetter,
        sqlstate: null,
        storedSha256: null,
        afterTick: deadLetter.tickNumber === null ? (deadLetter.afterTick ?? before(batch.first)) : null,
        raw: bytes.slice(offset, offset + length),
      })),
      copy: {
        ticks: sinks.ticks.release(),
        proofs: sinks.proofs.release(),
        transactions: sinks.transactions.release(),
      },
    };
  }
}

function before(first: bigint): bigint | null {
  return first === 0n ? null : first - 1n;
}

function sideIndex(batch: ParseTask['batch']): Uint32Array {
  const index = new Uint32Array(INDEX_WORDS);
  index[1] = batch.side!.length;
  index[2] = batch.ticks === 0 ? FRAME_UNNUMBERED : 0;
  return index;
}
