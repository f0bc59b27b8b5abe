import type { LiveChunk, LiveEvent, LiveNotice } from '../../../src/serve/live/event.ts';
import type { LiveFilter } from '../../../src/serve/live/filter.ts';
import type { LiveFrom, LiveSource } from '../../../src/serve/live/source.ts';
import { Subscriber, type LiveSink } from '../../../src/serve/live/subscriber.ts';
import { Signal } from '../../../src/core/wait.ts';

/** A connection whose client takes what it is sent when the test says so. */
export class TestSink implements LiveSink {
  readonly #chunks: LiveChunk[] = [];
  readonly #taken = new Signal();
  readonly #onTaken: (event: LiveEvent | LiveNotice) => void;
  /** false: nothing is taken by itself */
  isReading = true;
  buffered = 0;
  bufferedMax = 0;
  #isOver = false;

  constructor(onTaken: (event: LiveEvent | LiveNotice) => void) {
    this.#onTaken = onTaken;
  }

  write(chunk: LiveChunk): void {
    if (this.#isOver) return;
    this.#chunks.push(chunk);
    this.buffered += chunk.bytes;
    this.bufferedMax = Math.max(this.bufferedMax, this.buffered);
    if (this.isReading) setImmediate(() => this.take(1));
  }

  take(chunks: number): void {
    if (this.#isOver) return;
    for (const chunk of this.#chunks.splice(0, chunks)) {
      this.buffered -= chunk.bytes;
      for (const event of chunk.events) this.#onTaken(event);
    }
    this.#taken.fire();
  }

  async drained(): Promise<void> {
    while (this.buffered > 0 && !this.#isOver) await this.#taken.wait();
  }

  /** What was not taken is lost. */
  cut(): void {
    this.#isOver = true;
    this.#taken.fire();
  }
}

/** Connects, remembers ids, resumes by them. */
export class TestClient {
  readonly events: LiveEvent[] = [];
  readonly notices: LiveNotice[] = [];
  readonly #filter: LiveFilter;
  #from: LiveFrom;
  #connection: { sink: TestSink; ending: AbortController; over: Promise<void> } | null = null;

  constructor(from: LiveFrom, filter: LiveFilter) {
    this.#from = from;
    this.#filter = filter;
  }

  get sink(): TestSink | null {
    return this.#connection?.sink ?? null;
  }

  /** Resolves when it is known where the stream begins. */
  async connect(source: LiveSource): Promise<void> {
    const ending = new AbortController();
    const sink = new TestSink((event) => {
      this.#from = { kind: 'id', id: event.id };
      if (event.event === 'gap' || event.event === 'lagged') this.notices.push(event);
      else this.events.push(event as LiveEvent);
    });
    const opened = Promise.withResolvers<void>();
    const subscriber = new Subscriber({
      source,
      sink,
      filter: this.#filter,
      from: this.#from,
      signal: ending.signal,
    });
    const over = subscriber.run(() => opened.resolve());
    over.catch((error: unknown) => opened.reject(error as Error));
    this.#connection = { sink, ending, over };
    await opened.promise;
  }

  /** The connection breaks; what the client had not taken is lost. */
  async cut(): Promise<void> {
    const connection = this.#connection;
    this.#connection = null;
    if (connection === null) return;
    connection.sink.cut();
    connection.ending.abort();
    await connection.over;
  }
}
