import { ApiError } from '../api-error.ts';
import { decodeChainTick, type ChainTick } from '../chain.ts';
import { decodeBar, decodeSignal, decodeTick, type Bar, type MarketTick, type Signal } from '../market.ts';
import type { Transport } from '../transport.ts';
import type { Time } from '../wire.ts';
import { Feed, type FeedOptions } from './feed.ts';
import type { SseMessage } from './sse-parser.ts';

/** What each topic's events hold. */
export interface TopicItems {
  ticks: MarketTick;
  bars: Bar;
  signals: Signal;
  chain: ChainTick;
}

export type Topic = keyof TopicItems;

export interface LiveOptions<T extends Topic> extends FeedOptions {
  topic: T;
  /** default: all */
  symbols?: readonly string[];
  provider?: string;
  /** CEL over the item: only those for which it is true */
  where?: string;
  /** history from there, and then what comes; default: what comes. A time, or the id of an event */
  from?: Time;
  /** what to do where events were missed: hand out `lagged` and `gap` (default), or throw */
  losses?: 'deliver' | 'throw';
}

/** An item, with the id to go on from. */
export interface LiveItem<Item> {
  event: 'tick' | 'bar' | 'signal' | 'chain';
  id: string;
  item: Item;
}

/** What the server says of events that do not come any more. */
export interface LossJson {
  message: string;
  /** what was missed begins behind this time, as far as it is known */
  missed_from: string;
  /** the id that the feed goes on behind */
  resume_from: string;
}

/**
 * `gap`: what lay behind the given id is not kept any more. `lagged`: the same happened because too little was read. The feed goes
 * on by itself; some events may come again.
 */
export interface LiveLoss {
  event: 'lagged' | 'gap';
  id: string | null;
  loss: LossJson;
}

export type LiveEvent<T extends Topic> = LiveItem<TopicItems[T]> | LiveLoss;

const DECODERS: Readonly<Record<LiveItem<unknown>['event'], (item: unknown) => unknown>> = {
  tick: decodeTick,
  bar: decodeBar,
  signal: decodeSignal,
  chain: decodeChainTick,
};

/** A topic as it comes; see Feed for cuts, ends and pace. Rejects with ApiError. */
export class LiveFeed<T extends Topic> implements AsyncIterableIterator<LiveEvent<T>> {
  readonly #feed: Feed;
  readonly #losses: 'deliver' | 'throw';

  constructor(transport: Transport, options: LiveOptions<T>) {
    const { topic, symbols, provider, where, from, losses, ...rest } = options;
    this.#losses = losses ?? 'deliver';
    this.#feed = new Feed(transport, 'v1/stream', { topic, symbols, provider, where, from }, rest);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<LiveEvent<T>, void>> {
    for (;;) {
      const { done, value } = await this.#feed.next();
      if (done === true) return { done, value: undefined };
      try {
        const event = this.#eventOf(value);
        if (event !== null) return { done: false, value: event };
      } catch (error) {
        // whoever reads on after an error gets the end: no connection may be left behind
        await this.#feed.return();
        throw error;
      }
    }
  }

  async return(): Promise<IteratorResult<LiveEvent<T>, void>> {
    await this.#feed.return();
    return { done: true, value: undefined };
  }

  /** null: a kind of event that this client does not know, of a newer server. */
  #eventOf({ event, id, data }: SseMessage): LiveEvent<T> | null {
    if (event === 'lagged' || event === 'gap') {
      const loss = { event, id, loss: parsed(data) as LossJson } as const;
      if (this.#losses === 'deliver') return loss;
      throw new ApiError('gone', `events were missed: ${data}`, { status: 200 });
    }
    if (!Object.hasOwn(DECODERS, event)) return null;
    const kind = event as keyof typeof DECODERS;
    return { event: kind, id: id ?? '', item: DECODERS[kind](parsed(data)) as TopicItems[T] };
  }
}

function parsed(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch (error) {
    throw new ApiError('bad_answer', 'an event of the stream is not JSON', { status: 200, cause: error });
  }
}
