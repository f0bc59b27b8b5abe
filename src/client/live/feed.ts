import { backoffMs, type BackoffLimits } from '../../core/retry.ts';
import { pause } from '../../core/wait.ts';
import { ApiError } from '../api-error.ts';
import { mayPass, retryDelayMs } from '../retry.ts';
import type { Attempt, QueryValues, Transport } from '../transport.ts';
import { Seam } from './seam.ts';
import { SseParser, type SseMessage } from './sse-parser.ts';

/** Between two connections of a feed; unlimited in number, because a feed is there to stay. */
const RECONNECT_BACKOFF: BackoffLimits = { firstMs: 100, maxMs: 10_000 };
/** Of what was missed: their id is the one to go on behind. */
const NOTICES: ReadonlySet<string> = new Set(['gap', 'lagged']);
/** A connection that is silent for so long is dead: the server lets its heart beat much more often. */
const SILENCE_MS_MAX = 45_000;

export interface FeedOptions {
  /** ends the feed, as leaving the loop does */
  signal?: AbortSignal;
  /** the id of the last event that was used: the feed goes on behind it; then `from` does not count */
  lastEventId?: string;
  /** a connection that is silent for so long is given up, ms; default 45,000 */
  silenceMsMax?: number;
  /** told of each cut, before the wait: why, and how long until the next try */
  onCut?: (error: ApiError, waitMs: number) => void;
}

/**
 * The events of a stream of the API, over as many connections as it takes: after a cut it goes on behind the last event
 * that was handed out, and hands none out twice. It reads no more than is taken, so that a slow reader slows the server
 * down. Heartbeats are not handed out.
 *
 * States: connecting → reading → (cut) waiting → connecting; ended by return(), by the signal, and by an error that does
 * not pass: of the first connection also one that lasts.
 */
export class Feed implements AsyncIterableIterator<SseMessage> {
  readonly #transport: Transport;
  readonly #path: string;
  readonly #query: QueryValues;
  readonly #options: FeedOptions;
  readonly #ending = new AbortController();
  readonly #seam = new Seam();
  readonly #messages: AsyncGenerator<SseMessage, void, void>;
  readonly #end = (): void => this.#ending.abort();
  #lastEventId: string | null;
  #retryMs: number | null = null;
  #wasOpen = false;
  /** connections in a row that brought nothing */
  #failures = 0;

  constructor(transport: Transport, path: string, query: QueryValues, options: FeedOptions) {
    this.#transport = transport;
    this.#path = path;
    this.#query = query;
    this.#options = options;
    this.#lastEventId = options.lastEventId ?? null;
    if (options.signal?.aborted === true) this.#end();
    else options.signal?.addEventListener('abort', this.#end);
    this.#messages = this.#run();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<SseMessage, void>> {
    return this.#messages.next();
  }

  /** Also while next() waits for an event: that one then ends as well. */
  return(): Promise<IteratorResult<SseMessage, void>> {
    this.#end();
    return this.#messages.return();
  }

  async *#run(): AsyncGenerator<SseMessage, void, void> {
    const { signal } = this.#ending;
    try {
      while (!signal.aborted) {
        try {
          yield* this.#connection();
        } catch (error) {
          if (signal.aborted) return;
          await pause(this.#waitAfter(error), signal);
        }
      }
    } finally {
      this.#end();
      this.#options.signal?.removeEventListener('abort', this.#end);
    }
  }

  /** Until it is cut, which is an error also when the server has ended it. */
  async *#connection(): AsyncGenerator<SseMessage, void, void> {
    const attempt = this.#attempt();
    try {
      const { body } = await attempt.response;
      if (body === null) throw new ApiError('bad_answer', 'the stream has no body', { status: 200 });
      attempt.endTimeout();
      this.#wasOpen = true;
      const parser = new SseParser();
      const reader = body.getReader();
      for (;;) {
        const { done, value } = await this.#read(reader, attempt);
        if (done) throw new ApiError('unreachable', 'the server has ended the stream');
        for (const message of parser.push(value)) {
          if (this.#take(message)) yield message;
          if (this.#ending.signal.aborted) return;
        }
        // what has an id and no data moves the position as well: a heartbeat
        if (parser.lastEventId !== null) {
          this.#lastEventId = parser.lastEventId;
          this.#failures = 0;
        }
        this.#retryMs = parser.retryMs ?? this.#retryMs;
      }
    } finally {
      attempt.end();
    }
  }

  /** True for what is to be handed out. */
  #take({ event, id }: SseMessage): boolean {
    if (id !== null) this.#lastEventId = id;
    if (event === 'heartbeat') return false;
    // what a notice says is said of this connection, whatever was said before
    return id === null || NOTICES.has(event) || this.#seam.isNew(id);
  }

  #attempt(): Attempt {
    const id = this.#lastEventId === '' ? null : this.#lastEventId;
    return this.#transport.attempt(
      {
        method: 'GET',
        path: this.#path,
        query: { ...this.#query, from: id === null ? this.#query['from'] : undefined },
        headers: {
          accept: 'text/event-stream',
          ...(id === null ? {} : { 'last-event-id': id }),
        },
      },
      this.#ending.signal,
    );
  }

  async #read(
    reader: ReadableStreamDefaultReader<Uint8Array>,
    attempt: Attempt,
  ): Promise<{ done: true; value?: undefined } | { done: false; value: Uint8Array }> {
    const silenceMsMax = this.#options.silenceMsMax ?? SILENCE_MS_MAX;
    const timer = setTimeout(
      () => attempt.giveUp(new ApiError('timeout', `nothing came for ${silenceMsMax} ms`)),
      silenceMsMax,
    );
    try {
      const read = await attempt.while(reader.read());
      return read.done ? { done: true } : { done: false, value: read.value };
    } finally {
      clearTimeout(timer);
    }
  }

  /** How long until the next connection, ms. @throws what does not pass */
  #waitAfter(error: unknown): number {
    if (!(error instanceof ApiError)) throw error;
    this.#failures += 1;
    const { random, attemptsMax } = this.#transport;
    const waitMs = this.#wasOpen
      ? this.#reconnectMs(error, random())
      : retryDelayMs(error, this.#failures, attemptsMax, random());
    if (waitMs === null) throw error;
    this.#options.onCut?.(error, waitMs);
    return waitMs;
  }

  #reconnectMs(error: ApiError, random: number): number | null {
    // the same stream was served before, so an error within the server may pass as well
    if (!mayPass(error) && error.code !== 'internal') return null;
    // a cut is mended at once; what the server asks all clients for is of a server that is away
    const asked = Math.max(
      this.#failures > 1 ? (this.#retryMs ?? 0) : 0,
      (error.retryAfterSeconds ?? 0) * 1000,
    );
    return Math.max(backoffMs(this.#failures - 1, RECONNECT_BACKOFF, random), asked);
  }
}
