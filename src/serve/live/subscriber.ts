import { LiveChunk, type LiveNotice } from './event.ts';
import type { FanOut, Member } from './fan-out.ts';
import { filterKey, predicateOf, type LiveFilter, type Predicate } from './filter.ts';
import { formatMicros } from '../../core/time.ts';
import { unlessAborted } from '../../core/wait.ts';
import { LiveGoneError, type LiveFrom, type LiveReader, type LiveSource } from './source.ts';
import type { Vector } from './vector.ts';

/** Where a subscription's events go: a connection. */
export interface LiveSink {
  /** bytes that were written and that the client has not taken */
  readonly buffered: number;
  write(chunk: LiveChunk): void;
  /** Resolves when little is buffered, or the connection is over. */
  drained(): Promise<void>;
}

export interface SubscriberOptions {
  source: LiveSource;
  sink: LiveSink;
  filter: LiveFilter;
  from: LiveFrom;
  /** of the connection's end */
  signal: AbortSignal;
}

/** A client that has so much unread falls out of the fan-out, and reads for itself once it has taken it. */
const BUFFERED_BYTES_MAX = 1024 * 1024;
/** while a subscriber reads for itself, it waits above this */
const READ_BYTES_MAX = 256 * 1024;
/** events taken from the hub's memory at a time */
const MEMORY_EVENTS = 1_000;

type State =
  | { kind: 'reading'; reader: LiveReader }
  | { kind: 'joining'; fanOut: FanOut; positions: Vector }
  | { kind: 'live'; fanOut: FanOut; over: PromiseWithResolvers<void> }
  | { kind: 'behind'; fanOut: FanOut; positions: Vector };

/**
 * One client of the live path.
 *
 *   state     event                                           next
 *   (opened)  the source knows where it begins                reading
 *   reading   a page: history, or what the hub has forgotten  reading   waits while the client has not taken what it got
 *   reading   the rest is in the hub's memory                 joining
 *   joining   events are left in memory                       joining   takes some, waits as above
 *   joining   none is left                                    live      at once: nothing can come in between
 *   joining   what it needs was forgotten meanwhile           reading
 *   live      a batch                                         live      shares its chunk with all of the same filter
 *   live      a batch, and BUFFERED_BYTES_MAX are not taken   behind    the batch is not sent
 *   live      the hub began anew                              behind
 *   behind    the client has taken what it got                reading   from its last position
 *   any       what it needs is trimmed                        (ends)    a notice says from where to resume
 *   any       the connection ends                             (ends)
 *
 * So memory is bounded for each client, and a slow one costs reading, at its own pace, instead.
 */
export class Subscriber implements Member {
  readonly #source: LiveSource;
  readonly #sink: LiveSink;
  readonly #filter: LiveFilter;
  readonly #from: LiveFrom;
  readonly #signal: AbortSignal;
  readonly #key: string;
  readonly #predicate: Predicate;
  #state: State | null = null;
  #wasLive = false;

  constructor({ source, sink, filter, from, signal }: SubscriberOptions) {
    this.#source = source;
    this.#sink = sink;
    this.#filter = filter;
    this.#from = from;
    this.#signal = signal;
    this.#key = filterKey(filter);
    this.#predicate = predicateOf(filter);
  }

  /** Id to resume behind everything that there was so far; null: the last event's own is as good. For heartbeats. */
  get idleId(): string | null {
    const state = this.#state;
    return state?.kind === 'live' ? this.#source.idAt(state.fanOut, state.fanOut.positions) : null;
  }

  /**
   * Runs until the connection ends, or to a notice. Rejects with LiveIdError before anything is written, else with what bus or
   * database said.
   * @param opened called once, when it is known where the stream begins
   */
  async run(opened: () => void): Promise<void> {
    try {
      const reader = await this.#source.open(this.#from, this.#filter, this.#signal);
      opened();
      this.#state = { kind: 'reading', reader };
      while (!this.#signal.aborted) await this.#step(this.#state);
    } catch (error) {
      if (!(error instanceof LiveGoneError)) throw error;
      opened();
      this.#sink.write(new LiveChunk([noticeOf(error, this.#wasLive)]));
    } finally {
      await this.#end();
    }
  }

  offer(chunk: LiveChunk, before: Vector): boolean {
    const state = this.#state as State & { kind: 'live' };
    if (this.#sink.buffered + chunk.bytes <= BUFFERED_BYTES_MAX || this.#sink.buffered === 0) {
      this.#sink.write(chunk);
      return true;
    }
    this.#fellBehind(state, before);
    return false;
  }

  dismissed(at: Vector): void {
    this.#fellBehind(this.#state as State & { kind: 'live' }, at);
  }

  #fellBehind({ fanOut, over }: State & { kind: 'live' }, positions: Vector): void {
    this.#state = { kind: 'behind', fanOut, positions };
    over.resolve();
  }

  async #step(state: State): Promise<void> {
    switch (state.kind) {
      case 'reading': {
        const { reader } = state;
        const step = await reader.next(this.#signal);
        if (step.kind === 'memory') {
          await reader.pause();
          this.#state = { kind: 'joining', fanOut: step.fanOut, positions: step.positions };
          return;
        }
        if (step.events.length > 0) this.#sink.write(new LiveChunk(step.events));
        if (this.#sink.buffered > READ_BYTES_MAX) {
          await reader.pause();
          await this.#sink.drained();
        }
        return;
      }
      case 'joining':
        return this.#join(state);
      case 'live':
        await unlessAborted(state.over.promise, this.#signal);
        return;
      case 'behind':
        await this.#sink.drained();
        this.#state = {
          kind: 'reading',
          reader: this.#source.reopen(state.fanOut, state.positions, this.#filter),
        };
    }
  }

  async #join(state: State & { kind: 'joining' }): Promise<void> {
    const { fanOut } = state;
    if (!fanOut.covers(state.positions)) {
      const reader = this.#source.reopen(fanOut, state.positions, this.#filter);
      this.#state = { kind: 'reading', reader };
      return;
    }
    const { placed, positions } = fanOut.since(state.positions, MEMORY_EVENTS);
    const events = placed.map(({ event }) => event).filter(this.#predicate);
    if (events.length > 0) this.#sink.write(new LiveChunk(events));
    state.positions = positions;
    if (positions.every((place, partition) => place === fanOut.positions[partition])) {
      this.#state = { kind: 'live', fanOut, over: Promise.withResolvers() };
      this.#wasLive = true;
      fanOut.join(this.#key, this.#predicate, this);
    } else if (this.#sink.buffered > READ_BYTES_MAX) await this.#sink.drained();
  }

  async #end(): Promise<void> {
    const state = this.#state;
    if (state?.kind === 'live') state.fanOut.leave(this.#key, this);
    if (state?.kind === 'reading') await state.reader.pause();
  }
}

function noticeOf(error: LiveGoneError, wasLive: boolean): LiveNotice {
  return {
    id: error.resume,
    event: wasLive ? 'lagged' : 'gap',
    data: JSON.stringify({
      message: error.message,
      missed_from: formatMicros(error.fromUs),
      resume_from: error.resume,
    }),
  };
}
