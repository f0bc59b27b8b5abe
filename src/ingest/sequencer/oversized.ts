import type { LogLine } from '../../core/env.ts';
import { setTimeout as delay } from 'node:timers/promises';
import { streamVerdict, type CallFailure } from '../../core/retry.ts';
import type { StreamFailure, TickServer } from './connection.ts';

/** One may be a transient resource problem of the server; two at one position are caused by the message. */
const TIMES_MAX = 2;
/** grpc-js drops whatever arrives in one piece with the oversized message: a window of 1 MiB. */
const TICKS_MAX = 8_192;
const ROOM_POLL_MS = 20;

export interface OversizedHost {
  /** the last tick before the one that is due; null before the first one of a chain */
  had(): bigint | null;
  frame(bytes: Uint8Array): void;
  /** the ring is full */
  waiting(): boolean;
  state(state: { kind: 'poison'; error: string }): void;
}

/** The message above GRPC_MAX_MESSAGE_BYTES that a stream runs into: how often, and which tick it is. */
export class OversizedMessages {
  readonly #log: LogLine;
  readonly #host: OversizedHost;
  /** how often one was met since the last tick arrived */
  times = 0;

  constructor(log: LogLine, host: OversizedHost) {
    this.#log = log;
    this.#host = host;
  }

  /** An operator must decide. */
  get isHalt(): boolean {
    return this.times >= TIMES_MAX;
  }

  tellHalt({ code, text }: StreamFailure): void {
    this.#log(
      'error',
      'A message above GRPC_MAX_MESSAGE_BYTES stops the stream; raise the limit and restart, or skip the tick',
      { code, error: text },
    );
    this.#host.state({ kind: 'poison', error: text });
  }

  /** Reads up to the oversized tick, so that an operator knows its number and nothing else is in the way. */
  async name(server: TickServer, failure: StreamFailure, isOver: () => boolean): Promise<void> {
    const tick = await this.#find(server, isOver);
    if (tick === null || isOver()) return;
    this.#log('error', 'The message that stops the stream is this tick', {
      tick,
      to_pass_over_it: `tick-ingester skip --tick ${tick}`,
    });
    this.#host.state({ kind: 'poison', error: `tick ${tick}: ${failure.text}` });
  }

  /**
   * Such a message ends a stream without saying which tick it was, and the ticks before it may be lost with it. So the
   * ticks that are due are requested one by one, and read like those of the stream, until one is too large as well.
   * Null when it was not found.
   */
  async #find(server: TickServer, isOver: () => boolean): Promise<bigint | null> {
    for (let asked = 0; asked < TICKS_MAX && !isOver(); asked += 1) {
      const had = this.#host.had();
      if (had === null) return null;
      const number = had + 1n;
      try {
        const bytes = await server.tick(number);
        if (bytes === null || isOver()) return null;
        this.#host.frame(bytes);
      } catch (error) {
        return streamVerdict(error as CallFailure) === 'too_large' ? number : null;
      }
      while (this.#host.waiting() && !isOver()) await delay(ROOM_POLL_MS);
      if (this.#host.had() === had) return null;
    }
    return null;
  }
}
