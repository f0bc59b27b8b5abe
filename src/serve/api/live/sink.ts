import type { Writable } from 'node:stream';
import { pause } from '../../../core/wait.ts';
import type { LiveChunk, LiveEvent, LiveNotice } from '../../live/event.ts';
import type { LiveSink } from '../../live/subscriber.ts';

/** below this, more may be written */
const LITTLE_BYTES = 64 * 1024;
/** a look at a connection that told nothing */
const LOOK_MS = 1_000;

/** What a client's connection takes; it is over when the signal says so. */
export class StreamSink implements LiveSink {
  readonly #stream: Writable;
  readonly #encode: (events: readonly (LiveEvent | LiveNotice)[]) => Buffer;
  readonly #over: AbortSignal;

  constructor(
    stream: Writable,
    encode: (events: readonly (LiveEvent | LiveNotice)[]) => Buffer,
    over: AbortSignal,
  ) {
    this.#stream = stream;
    this.#encode = encode;
    this.#over = over;
  }

  get buffered(): number {
    return this.#stream.writableLength;
  }

  write(chunk: LiveChunk): void {
    if (!this.#over.aborted && this.#stream.writable) this.#stream.write(chunk.encoded(this.#encode));
  }

  async drained(): Promise<void> {
    while (!this.#over.aborted && this.buffered > LITTLE_BYTES) {
      const taken = new AbortController();
      const onDrain = (): void => taken.abort();
      this.#stream.once('drain', onDrain);
      await pause(LOOK_MS, AbortSignal.any([taken.signal, this.#over]));
      this.#stream.off('drain', onDrain);
    }
  }
}
