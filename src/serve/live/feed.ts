import type { LiveFilter } from './filter.ts';
import type { LiveFrom, LiveSource } from './source.ts';
import { Subscriber, type LiveSink } from './subscriber.ts';

export const LIVE_TOPICS = ['ticks', 'bars', 'signals', 'chain'] as const;

export type LiveTopic = (typeof LIVE_TOPICS)[number];

export interface LiveSubscription {
  topic: LiveTopic;
  filter: LiveFilter;
  from: LiveFrom;
  sink: LiveSink;
  /** of the connection's end */
  signal: AbortSignal;
  /** called once it is known where the stream begins, before anything is written */
  opened: () => void;
}

/** The live path without HTTP: subscriptions in, events out. */
export class LiveFeed {
  readonly #sources: Readonly<Record<LiveTopic, LiveSource>>;
  readonly #stopping = new AbortController();
  readonly #open = new Map<Subscriber, Promise<unknown>>();

  constructor(sources: Readonly<Record<LiveTopic, LiveSource>>) {
    this.#sources = sources;
  }

  get subscribers(): number {
    return this.#open.size;
  }

  /**
   * Runs until the connection ends, the feed stops, or a notice was written. Rejects with LiveIdError before anything is
   * written, else with what bus or database said.
   */
  async subscribe(
    { topic, filter, from, sink, signal, opened }: LiveSubscription,
    known: (subscriber: Subscriber) => void = () => {},
  ): Promise<void> {
    const subscriber = new Subscriber({
      source: this.#sources[topic],
      sink,
      filter,
      from,
      signal: AbortSignal.any([signal, this.#stopping.signal]),
    });
    known(subscriber);
    const running = subscriber.run(opened);
    this.#open.set(subscriber, running);
    try {
      await running;
    } finally {
      this.#open.delete(subscriber);
    }
  }

  /** Ends every subscription, then the sources. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.allSettled(this.#open.values());
    await Promise.all(Object.values(this.#sources).map((source) => source.stop()));
  }
}
