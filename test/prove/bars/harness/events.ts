import { eventIdOf } from '../../../../src/core/market/event-id.ts';
import type { TickEvent } from '../../../../src/core/market/event.ts';
import { Random } from '../../../../src/core/market/synthetic/random.ts';
import { formatMicros } from '../../../../src/core/time.ts';

export interface EventsOptions {
  /** equal options give equal events */
  seed: string;
  /** distinct ones; Infinity: without end */
  count: number;
  /** time of the first one */
  startMicros: bigint;
  /** by event time, over all symbols */
  perSecond: number;
  /** arrivals are shuffled within this … */
  allowLateMs: number;
  /** … and so many of a thousand come later than that, by up to lateMsMax */
  latePerMille: number;
  lateMsMax: number;
  /** of a thousand, sent a second time */
  doubledPerMille: number;
  /** of 100,000, sent again under the same id with another price */
  conflictsPer100k: number;
}

/** Shuffled within and beyond the lateness, 2 % doubled: what the acceptance runs are fed, unless they say otherwise. */
export const MIXED = {
  allowLateMs: 500,
  latePerMille: 20,
  lateMsMax: 20_000,
  doubledPerMille: 20,
  conflictsPer100k: 0,
};

export interface EventsSize {
  /** distinct ones */
  events: number;
  /** by event time */
  perSecond: number;
}

const MIDNIGHT_MICROS = BigInt(Date.UTC(2025, 7, 24)) * 1000n;

/** When the first of them happens so that midnight is in the middle: bars of every interval close on the way. */
export function acrossMidnight({ events, perSecond }: EventsSize): bigint {
  return MIDNIGHT_MICROS - BigInt(Math.round((events / perSecond / 2) * 1e6));
}

/** All of them, in the order of their publication. */
export function mixedEvents(seed: number, size: EventsSize): TickEvent[] {
  const { events, perSecond } = size;
  const startMicros = acrossMidnight(size);
  return [...eventsOf(arrivals({ ...MIXED, seed: `${seed}`, count: events, startMicros, perSecond }))];
}

/** Of arrivals: their events. */
export function* eventsOf(arrivals: Iterable<Arrival>): Generator<TickEvent> {
  for (const { event } of arrivals) yield event;
}

export interface Arrival {
  /** when it is published, µs of event time */
  atMicros: number;
  event: TickEvent;
  /** an earlier one has its id and another content */
  isConflict: boolean;
}

export const SYMBOLS = ['HOT', 'AAPL', 'MSFT', 'NVDA', 'AMZN', 'GOOG', 'META', 'TSLA', 'AMD', 'INTC'];
const PROVIDER = 'prove';
/** of the hot symbol's events, those of a second provider: the same symbol, and other bars */
const OTHER_PROVIDER = { name: 'prove-b', share: 0.05 };
/** how many pairs of provider and symbol there are: each has a watermark of its own */
export const SERIES = SYMBOLS.length + 1;
const SLICE = 2_000;
const SEQ_PRIME = 100_003;
/** above what a double can hold: written as a string */
const SEQ_LARGE = 2n ** 60n;

interface Walk {
  price: number;
  drawn: number;
}

/**
 * Ticks of 10 symbols in the order in which they are published. Half of them are of one symbol; prices have all digits
 * that a double has and lie between 1e-4 and 1e5; sizes are no whole numbers, now and then 0, absent, or so large that a
 * plain sum loses the others; some share a µs, and their seq, not the order of arrival, tells which is first.
 */
export function* arrivals(options: EventsOptions): Generator<Arrival> {
  const source = new Source(options);
  const random = new Random(`${options.seed}/arrival`);
  let pending: Arrival[] = [];
  for (let drawn = 0; drawn < options.count || pending.length > 0;) {
    let horizon = Infinity;
    for (const end = Math.min(options.count, drawn + SLICE); drawn < end; drawn += 1) {
      const event = source.next();
      horizon = source.nowMicros;
      pending.push(...sendings(event, horizon, options, random));
    }
    if (drawn >= options.count) horizon = Infinity;
    // nothing that is drawn later is published before it happens
    const due = pending.filter(({ atMicros }) => atMicros <= horizon).sort((a, b) => a.atMicros - b.atMicros);
    pending = pending.filter(({ atMicros }) => atMicros > horizon);
    yield* due;
  }
}

/** An event once, and now and then again. */
function* sendings(event: TickEvent, at: number, options: EventsOptions, random: Random): Generator<Arrival> {
  const atMicros = at + delayMicros(options, random);
  yield { atMicros, event, isConflict: false };
  if (random.below(1000) < options.doubledPerMille) {
    yield { atMicros: at + delayMicros(options, random), event, isConflict: false };
  }
  if (random.below(100_000) < options.conflictsPer100k) {
    const other = { ...event, price: event.price * 1.5 };
    yield { atMicros: atMicros + 1 + random.below(2_000_000), event: other, isConflict: true };
  }
}

/** Well within the lateness, or beyond it. */
function delayMicros({ allowLateMs, latePerMille, lateMsMax }: EventsOptions, random: Random): number {
  if (random.below(1000) >= latePerMille) return random.below(allowLateMs * 800);
  return (allowLateMs + random.below(Math.max(1, lateMsMax - allowLateMs))) * 1000;
}

class Source {
  readonly #random: Random;
  readonly #gapMicros: number;
  readonly #walks: Walk[];
  readonly #start: number;
  #elapsed = 0;
  #last: number | null = null;

  constructor({ seed, startMicros, perSecond }: EventsOptions) {
    this.#random = new Random(`${seed}/source`);
    this.#gapMicros = 1e6 / perSecond;
    this.#start = Number(startMicros);
    this.#walks = SYMBOLS.map((_, at) => ({ price: 1.1 * 10 ** (at - 4), drawn: 0 }));
  }

  /** The time of the last one. */
  get nowMicros(): number {
    return this.#start + Math.floor(this.#elapsed);
  }

  next(): TickEvent {
    const random = this.#random;
    // one in twenty has the symbol and the µs of the one before
    const isTwin = this.#last !== null && random.below(20) === 0;
    if (!isTwin) this.#elapsed += random.exponential() * this.#gapMicros;
    const at = this.#last !== null && isTwin ? this.#last : this.#symbol();
    this.#last = at;
    const walk = this.#walks[at];
    walk.price *= 1 + 1e-4 * random.normal();
    walk.drawn += 1;
    const provider = at === 0 && random.unit() < OTHER_PROVIDER.share ? OTHER_PROVIDER.name : PROVIDER;
    // in no order, and no two of one µs alike
    const small = BigInt((walk.drawn * 7_919) % SEQ_PRIME);
    const seq = random.below(50) === 0 ? SEQ_LARGE + small : small;
    return tick({
      provider,
      symbol: SYMBOLS[at],
      srcTs: BigInt(this.nowMicros),
      seq,
      price: walk.price,
      size: size(random),
    });
  }

  /** Half of the events are of the first one. */
  #symbol(): number {
    return this.#random.below(2) === 0 ? 0 : 1 + this.#random.below(SYMBOLS.length - 1);
  }
}

function size(random: Random): number | null {
  const choice = random.below(1000);
  if (choice < 50) return null;
  if (choice < 70) return 0;
  if (choice < 72) return 9e15 * random.unit();
  return random.unit() * 10 ** (random.below(6) - 2);
}

/** Without what does not matter to bars. */
export function tick(
  given: Pick<TickEvent, 'provider' | 'symbol' | 'srcTs' | 'seq' | 'price' | 'size'>,
): TickEvent {
  const { provider, symbol, srcTs, seq } = given;
  return {
    ...given,
    kind: 'tick',
    ingestTs: null,
    bid: null,
    ask: null,
    side: null,
    origin: 'live',
    replayRunId: null,
    eventId: eventIdOf(provider, symbol, formatMicros(srcTs), seq, null),
  };
}

/** A row of what test/oracle/bars.py reads. */
export function oracleRow({ provider, symbol, srcTs, seq, price, size }: TickEvent): string {
  return `${provider},${symbol},${srcTs},${seq},${price},${size ?? ''}\n`;
}
