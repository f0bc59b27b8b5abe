import type { Env } from '../../../core/env.ts';
import { RangeSet } from '../../../core/ingest/ranges.ts';
import { backoffMs } from '../../../core/retry.ts';
import { pause, unlessAborted } from '../../../core/wait.ts';
import type { ChainPage, LiveChain } from '../../../store/live/chain.ts';
import { jsonLines } from '../../format/json.ts';
import type { LiveEvent } from '../event.ts';
import { FanOut } from '../fan-out.ts';
import { predicateOf, type LiveFilter, type Predicate } from '../filter.ts';
import type { LiveFrom, LiveReader, LiveSource, ReadStep } from '../source.ts';
import type { Vector } from '../vector.ts';
import { chainId, parseChainId, type ChainPlace } from './place.ts';

export interface ChainSourceTools {
  chain: Pick<LiveChain, 'extent' | 'missing' | 'firstAt' | 'page' | 'stored'>;
  env: Env;
  /** between two looks, ms; default POLL_MS */
  pollMs?: number;
}

const POLL_MS = 100;
/** How often numbers that were passed are looked for, ms. */
const LOOK_BACK_MS = 1_000;
const PAGE = 500;
const BACKOFF = { firstMs: 200, maxMs: 5_000 };
/** places of the hub's positions, for subscribers that fall behind */
const PLACES_MAX = 20_000;
/** ranges of numbers that were passed */
const HOLES_MAX = 1_000;

interface Numbered {
  number: bigint;
  data: string;
}

/**
 * The topic `chain`: committed ticks in the order of their numbers. The hub reads up to the ledger's position, which counts gaps
 * as recorded: a number that is not there is passed and remembered, and its tick is sent late, when it is stored. Its
 * positions are the numbers of its batches.
 *
 * What is a hole is decided by the hub alone: a subscriber that reads by itself up to the hub's place leaves out numbers that
 * the hub has as holes, even if they are stored by now (the hub will send them), and sends itself those that it had as holes
 * and the hub has not.
 */
export class ChainSource implements LiveSource {
  readonly #tools: ChainSourceTools;
  readonly #stopping = new AbortController();
  readonly #fanOut = new FanOut((a, b) => Number(a) - Number(b), ['0']);
  #place: ChainPlace | null = null;
  #places: ChainPlace[] = [];
  #firstPlace = 0;
  #lookedBackMs = 0;
  #running: Promise<void> | null = null;

  constructor(tools: ChainSourceTools) {
    this.#tools = tools;
  }

  async open(from: LiveFrom, filter: LiveFilter, signal: AbortSignal): Promise<LiveReader> {
    const asked =
      from.kind === 'id' ? parseChainId(from.id) : from.kind === 'time' ? { fromUs: from.us } : null;
    this.#running ??= this.#run();
    while (this.#place === null && !signal.aborted && !this.#stopping.signal.aborted)
      await unlessAborted(this.#fanOut.news(), signal);
    const hub = this.#place ?? { next: 0n, holes: new RangeSet() };
    if (asked === null) return this.#reader(copyOf(hub), filter);
    if ('next' in asked)
      return this.#reader({ ...asked, next: asked.next < hub.next ? asked.next : hub.next }, filter);
    const first = await this.#tools.chain.firstAt(asked.fromUs);
    const next = first === null || first > hub.next ? hub.next : first;
    return this.#reader({ next, holes: new RangeSet() }, filter);
  }

  reopen(_fanOut: FanOut, at: Vector, filter: LiveFilter): LiveReader {
    return this.#reader(copyOf(this.#placeOf(at)), filter);
  }

  idAt(_fanOut: FanOut, positions: Vector): string {
    return chainId(this.#placeOf(positions));
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#fanOut.wake();
    await this.#running;
  }

  #reader(place: ChainPlace, filter: LiveFilter): LiveReader {
    const at = (): Aim => ({ place: copyOf(this.#place as ChainPlace), positions: this.#fanOut.positions });
    return new ChainReader(this.#tools, this.#fanOut, at, place, filter);
  }

  #placeOf(positions: Vector): ChainPlace {
    const number = Number(positions[0] ?? 0);
    return this.#places[Math.max(0, number - this.#firstPlace)] ?? (this.#places.at(-1) as ChainPlace);
  }

  async #run(): Promise<void> {
    const { env, pollMs = POLL_MS } = this.#tools;
    let attempt = 0;
    while (!this.#stopping.signal.aborted) {
      try {
        const goesOn = (await this.#lookBack()) || (await this.#goOn());
        attempt = 0;
        if (!goesOn) await pause(pollMs, this.#stopping.signal);
      } catch (error) {
        if (attempt === 1) env.log('warn', 'The live path waits for the database', { err: error });
        await pause(backoffMs(attempt, BACKOFF, env.random()), this.#stopping.signal);
        attempt += 1;
      }
    }
  }

  /** True: there may be more. */
  async #goOn(): Promise<boolean> {
    const { chain } = this.#tools;
    const { origin, position } = await chain.extent();
    if (this.#place === null) {
      const holes = new RangeSet(position === null ? [] : await chain.missing());
      this.#place = { next: position === null ? (origin ?? 0n) : position + 1n, holes };
      this.#places.push(copyOf(this.#place));
      this.#fanOut.wake();
      return false;
    }
    const { next } = this.#place;
    if (position === null || position < next) return false;
    const first = origin !== null && origin > next ? origin : next;
    if (position < first) return false;
    const page = await chain.page({ first, last: position }, PAGE, 'hub');
    const rows = numbered(page);
    const end = page.hasMore ? (rows.at(-1) as Numbered).number : position;
    this.#publish(
      rows,
      (place, row) => pass(place, row.number),
      (place) => pass(place, end + 1n, true),
    );
    return page.hasMore;
  }

  async #lookBack(): Promise<boolean> {
    const { chain, env } = this.#tools;
    const nowMs = env.clock.monotonicMs();
    if (this.#place === null || this.#place.holes.size === 0 || nowMs - this.#lookedBackMs < LOOK_BACK_MS)
      return false;
    const found = await chain.stored(this.#place.holes.list(), PAGE, 'hub');
    if (found.length < PAGE) this.#lookedBackMs = nowMs;
    if (found.length === 0) return false;
    const rows = await ticksOf(chain, found, 'hub');
    this.#publish(rows, (place, { number }) => place.holes.remove({ first: number, last: number }));
    return true;
  }

  /** @param step what each row does to the place; @param end what is done behind the last one */
  #publish(
    rows: readonly Numbered[],
    step: (place: ChainPlace, row: Numbered) => void,
    end: (place: ChainPlace) => void = () => {},
  ): void {
    const place = this.#place as ChainPlace;
    const takenMs = Number(this.#tools.env.clock.nowMicros() / 1000n);
    const position = String(Number(this.#fanOut.positions[0]) + 1);
    const placed = rows.map((row) => {
      step(place, row);
      return { event: chainEvent(row, chainId(place)), partition: 0, position, takenMs };
    });
    end(place);
    for (const range of place.holes.list().slice(0, -HOLES_MAX)) place.holes.remove(range);
    this.#places.push(copyOf(place));
    if (this.#places.length > PLACES_MAX) {
      this.#places = this.#places.slice(PLACES_MAX / 2);
      this.#firstPlace += PLACES_MAX / 2;
    }
    this.#fanOut.publish(0, position, placed);
  }
}

interface Aim {
  place: ChainPlace;
  positions: Vector;
}

/** What one subscriber to the chain reads by itself, up to where the hub is. */
class ChainReader implements LiveReader {
  readonly #tools: ChainSourceTools;
  readonly #fanOut: FanOut;
  readonly #hub: () => Aim;
  readonly #predicate: Predicate;
  readonly #place: ChainPlace;
  #aim: Aim | null = null;

  constructor(
    tools: ChainSourceTools,
    fanOut: FanOut,
    hub: () => Aim,
    place: ChainPlace,
    filter: LiveFilter,
  ) {
    this.#tools = tools;
    this.#fanOut = fanOut;
    this.#hub = hub;
    this.#place = place;
    this.#predicate = predicateOf(filter);
  }

  async next(): Promise<ReadStep> {
    const { chain } = this.#tools;
    this.#aim ??= this.#hub();
    const { place: aim, positions } = this.#aim;
    const place = this.#place;
    // holes that the hub has not: they were stored since, or never will be
    const lost = place.holes.list().flatMap((range) => aim.holes.missing(range));
    if (lost.length > 0) {
      const found = await chain.stored(lost, PAGE, 'client');
      const rows = await ticksOf(chain, found, 'client');
      const events = this.#events(rows, ({ number }) => place.holes.remove({ first: number, last: number }));
      if (found.length < PAGE) for (const range of lost) place.holes.remove(range);
      return events;
    }
    if (place.next >= aim.next) return { kind: 'memory', fanOut: this.#fanOut, positions };
    const page = await chain.page({ first: place.next, last: aim.next - 1n }, PAGE, 'client');
    const all = numbered(page);
    const end = page.hasMore ? (all.at(-1) as Numbered).number : aim.next - 1n;
    const rows = all.filter(({ number }) => !aim.holes.has(number));
    const step = this.#events(rows, ({ number }) => pass(place, number));
    pass(place, end + 1n, true);
    // of what is not there the hub says which is a hole
    for (const range of place.holes.list().flatMap((own) => aim.holes.missing(own)))
      place.holes.remove(range);
    return step;
  }

  pause(): Promise<void> {
    return Promise.resolve();
  }

  #events(rows: readonly Numbered[], step: (row: Numbered) => void): ReadStep {
    const events = rows.map((row) => {
      step(row);
      return chainEvent(row, chainId(this.#place));
    });
    return { kind: 'events', events: events.filter(this.#predicate) };
  }
}

/** Numbers between the place and this one are holes; it is passed, or with isEnd is the next one. */
function pass(place: ChainPlace, number: bigint, isEnd = false): void {
  if (number > place.next) place.holes.add({ first: place.next, last: number - 1n });
  if (number >= place.next) place.next = isEnd ? number : number + 1n;
}

function copyOf({ next, holes }: ChainPlace): ChainPlace {
  return { next, holes: new RangeSet(holes.list()) };
}

async function ticksOf(
  chain: Pick<LiveChain, 'page'>,
  numbers: readonly bigint[],
  who: 'hub' | 'client',
): Promise<Numbered[]> {
  const rows: Numbered[] = [];
  for (const range of new RangeSet(numbers.map((number) => ({ first: number, last: number }))).list())
    rows.push(...numbered(await chain.page(range, PAGE, who)));
  return rows;
}

function numbered({ batch }: ChainPage): Numbered[] {
  const column = batch.indexOf('tick_number');
  return jsonLines(batch).map((data, row) => ({ number: batch.value(column, row) as bigint, data }));
}

function chainEvent({ number, data }: Numbered, id: string): LiveEvent {
  return {
    id,
    event: 'chain',
    data,
    provider: null,
    symbol: null,
    fields: () => ({ kind: 'chain', seq: number }),
  };
}
