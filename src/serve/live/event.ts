/** An event on its way to subscribers, encoded once for all of them. */
export interface LiveEvent {
  /** opaque to clients: where to resume behind it */
  id: string;
  event: 'tick' | 'bar' | 'signal' | 'chain';
  /** the item as the queries give it, JSON */
  data: string;
  /** what filters go by; null: it has none, as chain ticks */
  provider: string | null;
  symbol: string | null;
  /** what `where` may name */
  fields: () => Readonly<Record<string, unknown>>;
}

/** Said to one subscriber alone, behind which its stream ends. */
export interface LiveNotice {
  id: string;
  /** `gap`: what the id stood before is not to be had any more. `lagged`: the subscriber was too slow, and what it needed is trimmed */
  event: 'gap' | 'lagged';
  data: string;
}

/** of an event beyond id and data, as a client gets it */
const FRAME_BYTES = 40;

/** Events in order that go to every subscriber with the same filter: whatever they are encoded to is kept with them. */
export class LiveChunk {
  readonly events: readonly (LiveEvent | LiveNotice)[];
  /** about what they take when they are sent */
  readonly bytes: number;
  readonly #encoded = new Map<unknown, unknown>();

  constructor(events: readonly (LiveEvent | LiveNotice)[]) {
    this.events = events;
    let bytes = 0;
    for (const { id, data } of events) bytes += id.length + data.length + FRAME_BYTES;
    this.bytes = bytes;
  }

  /** Made once, and the same for everybody who asks with this encoder. */
  encoded<T>(encode: (events: readonly (LiveEvent | LiveNotice)[]) => T): T {
    if (!this.#encoded.has(encode)) this.#encoded.set(encode, encode(this.events));
    return this.#encoded.get(encode) as T;
  }
}
