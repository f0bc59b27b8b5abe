import { RangeSet, type TickRange } from '../../core/ingest/ranges.ts';
import { streamVerdict, type CallFailure } from '../../core/retry.ts';
import type { FetchedFrame } from './fetched-frames.ts';
import { ServerDown } from './pass.ts';
import { askTick } from '../sequencer/ask-tick.ts';
import type { TickServer } from '../sequencer/connection.ts';

export interface CallLimits {
  /** GetTick calls in flight at once */
  calls: number;
  /** a chunk ends when its frames reach this, bytes */
  chunkBytes: number;
}

/** The outcome of requesting a range number by number. A number in none of the three was not requested. */
export interface CallResults {
  /** in order */
  frames: FetchedFrame[];
  /** the server answered "not there" */
  missing: RangeSet;
  failed: FailedCall[];
  /** whether any call was answered, with a tick or with "not there" */
  answered: boolean;
  /** the server limits us: it was asked for nothing more */
  limited: ServerDown | null;
}

export interface FailedCall {
  number: bigint;
  error: string;
}

/**
 * Requests single ticks, several at once. Remembers how large they were: large ones are requested one by one. A server that
 * limits us gets half as many calls at once, down to one; each request without a refusal allows one more.
 */
export class TickCaller {
  readonly #limits: CallLimits;
  #largestBytes: number;
  #callsMax: number;

  constructor(limits: CallLimits) {
    this.#limits = limits;
    this.#callsMax = limits.calls;
    // until the first answer, assume that one tick may fill a chunk
    this.#largestBytes = limits.chunkBytes;
  }

  /**
   * Requests the numbers of `ranges` in order until all are answered, the chunk is full, or as many consecutive calls
   * failed as there are workers: then the server is at fault. Never rejects.
   */
  async ask(server: TickServer, ranges: readonly TickRange[]): Promise<CallResults> {
    const results: CallResults = {
      frames: [],
      missing: new RangeSet(),
      failed: [],
      answered: false,
      limited: null,
    };
    const workers = Math.max(
      1,
      Math.min(this.#callsMax, Math.floor(this.#limits.chunkBytes / this.#largestBytes)),
    );
    const numbers = numbersOf(ranges);
    let bytes = 0;
    let failedInARow = 0;
    let largest = 1;
    const work = async (): Promise<void> => {
      while (bytes < this.#limits.chunkBytes && failedInARow < workers && results.limited === null) {
        const { value: number } = numbers.next();
        if (number === undefined) return;
        try {
          const frame = await askTick(server, number);
          failedInARow = 0;
          results.answered = true;
          if (frame === null) {
            results.missing.add({ first: number, last: number });
            continue;
          }
          bytes += frame.length;
          largest = Math.max(largest, frame.length);
          results.frames.push({ number, due: number, bytes: frame });
        } catch (error) {
          if (streamVerdict(error as CallFailure) === 'limited') {
            results.limited ??= new ServerDown((error as Error).message, true);
            return;
          }
          failedInARow += 1;
          results.failed.push({ number, error: (error as Error).message });
        }
      }
    };
    await Promise.all(Array.from({ length: workers }, work));
    if (results.frames.length > 0) this.#largestBytes = largest;
    if (results.limited !== null) this.#callsMax = Math.max(1, Math.floor(workers / 2));
    else if (this.#callsMax < this.#limits.calls) this.#callsMax += 1;
    results.frames.sort((a, b) => (a.due < b.due ? -1 : 1));
    results.failed.sort((a, b) => (a.number < b.number ? -1 : 1));
    return results;
  }
}

function* numbersOf(ranges: readonly TickRange[]): Generator<bigint, undefined> {
  for (const { first, last } of ranges) for (let number = first; number <= last; number += 1n) yield number;
}
