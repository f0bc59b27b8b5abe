import { EVENT_TIME_END_US, isEventTime } from '../event-time.ts';
import { eventIdOf } from '../event-id.ts';
import type { TickEvent } from '../event.ts';
import { providerName } from '../codec/field.ts';
import { symbolProblem, upperCased } from '../identity/symbol.ts';
import { shown } from '../refusal.ts';
import { Random } from './random.ts';
import { formatMicros, type Micros } from '../../time.ts';

export interface SyntheticOptions {
  /** the same seed and options give the same events, byte for byte, on every machine */
  seed: string;
  provider: string;
  /** upper case, no duplicates */
  symbols: readonly string[];
  /** mean events per second of each symbol, at random times (a Poisson process) */
  tickRate: number;
  /** standard deviation of the daily log return, 0.02 = 2 % */
  priceVolatility: number;
  /** ask minus bid, in basis points of the price; at least two price steps */
  spreadBps: number;
  /** prices are multiples of step / 10^decimals: step 1 with 2 decimals is 0.01, step 5 is 0.05 */
  priceStep: { step: number; decimals: number };
  /** lower bound of event times */
  startMicros: Micros;
}

const MICROS_PER_SECOND = 1e6;
const MICROS_PER_DAY = 86_400e6;
/** range of a symbol's first price, in whole units */
const [FIRST_PRICE_LEAST, FIRST_PRICE_RANGE] = [20, 480];
const [SIZE_LOT, SIZE_LOTS_MAX] = [100, 10];

interface Walk {
  symbol: string;
  /** in price steps, not rounded */
  mid: number;
  lastMicros: number;
  seq: number;
}

/**
 * Endless trades and quotes of synthetic symbols: a geometric random walk of the mid price in whole price steps, with
 * trades randomly at the bid or the ask. Times never decrease; several trades may share a µs, and `seq`, which counts
 * each symbol's events from 0, tells them apart. Events never depend on how many follow them.
 */
export class SyntheticTicks {
  readonly #random: Random;
  readonly #walks: Walk[];
  readonly #provider: string;
  readonly #gapMicros: number;
  readonly #volatility: number;
  readonly #halfSpread: number;
  readonly #step: number;
  readonly #scale: number;
  readonly #startMicros: number;
  /** since the start, with fractions of a µs, which event times drop */
  #elapsedMicros = 0;
  #micros: number;
  #second = { at: -1, text: '' };

  /** @throws RangeError when an option cannot be used */
  constructor(options: SyntheticOptions) {
    checkOptions(options);
    this.#random = new Random(options.seed);
    this.#provider = options.provider;
    this.#gapMicros = MICROS_PER_SECOND / (options.tickRate * options.symbols.length);
    this.#volatility = options.priceVolatility;
    this.#halfSpread = options.spreadBps / 1e4 / 2;
    this.#step = options.priceStep.step;
    this.#scale = 10 ** options.priceStep.decimals;
    this.#startMicros = Number(options.startMicros); // below 2^53 until 2255
    this.#micros = this.#startMicros;
    this.#walks = options.symbols.map((symbol) => ({
      symbol,
      mid: ((FIRST_PRICE_LEAST + this.#random.below(FIRST_PRICE_RANGE)) * this.#scale) / this.#step,
      lastMicros: this.#micros,
      seq: 0,
    }));
  }

  /** @throws RangeError at the end of 2099 */
  next(): TickEvent {
    const random = this.#random;
    this.#elapsedMicros += random.exponential() * this.#gapMicros;
    this.#micros = this.#startMicros + Math.floor(this.#elapsedMicros);
    const walk = this.#walks[random.below(this.#walks.length)];
    const days = (this.#micros - walk.lastMicros) / MICROS_PER_DAY;
    walk.lastMicros = this.#micros;
    const change = this.#volatility * Math.sqrt(days) * random.normal();
    // the price stays above 0 with any options
    walk.mid *= 1 + Math.max(-0.5, Math.min(1, change));
    const mid = Math.round(walk.mid);
    const half = Math.max(1, Math.round(walk.mid * this.#halfSpread));
    const bid = this.#price(Math.max(1, mid - half));
    const ask = this.#price(Math.max(2, mid + half));
    const side = random.word() < 0 ? -1 : 1;
    const size = SIZE_LOT * (1 + random.below(SIZE_LOTS_MAX));
    const seq = BigInt(walk.seq);
    walk.seq += 1;
    const srcTs = this.#timeText();
    return {
      kind: 'tick',
      provider: this.#provider,
      symbol: walk.symbol,
      srcTs: BigInt(this.#micros),
      ingestTs: null,
      seq,
      price: side === 1 ? ask : bid,
      size,
      bid,
      ask,
      side,
      origin: 'live',
      replayRunId: null,
      eventId: eventIdOf(this.#provider, walk.symbol, srcTs, seq, null),
    };
  }

  /** The price of a whole number of steps: a single division, so it is the double nearest to the decimal. */
  #price(steps: number): number {
    return (steps * this.#step) / this.#scale;
  }

  /** The text up to the second is cached. */
  #timeText(): string {
    const second = Math.floor(this.#micros / MICROS_PER_SECOND);
    if (second !== this.#second.at) {
      if (this.#micros >= Number(EVENT_TIME_END_US)) throw new RangeError('synthetic events end with 2099');
      const text = formatMicros(BigInt(second * MICROS_PER_SECOND)).slice(0, -'000000Z'.length);
      this.#second = { at: second, text };
    }
    const fraction = this.#micros - second * MICROS_PER_SECOND;
    return `${this.#second.text}${String(fraction).padStart(6, '0')}Z`;
  }
}

function checkOptions(options: SyntheticOptions): void {
  const { symbols, tickRate, priceVolatility, spreadBps, priceStep, startMicros } = options;
  const provider = providerName(options.provider);
  const malformed = symbols.find((symbol) => symbolProblem(symbol) !== null);
  const wrong = [
    typeof provider !== 'string' && provider.detail,
    malformed !== undefined && `symbol ${shown(malformed)} ${symbolProblem(malformed)}`,
    symbols.some((symbol) => upperCased(symbol) !== symbol) && 'a symbol is not in upper case',
    symbols.length === 0 && 'no symbols',
    new Set(symbols).size < symbols.length && 'a symbol is there twice',
    !(tickRate > 0 && tickRate <= 1e6) && 'tick_rate is not above 0 and at most 1,000,000 a second',
    !(priceVolatility >= 0 && priceVolatility <= 10) && 'price_volatility is not from 0 to 10',
    !(spreadBps >= 0 && spreadBps < 1e4) && 'the spread is not from 0 to 10,000 basis points',
    !(Number.isInteger(priceStep.step) && priceStep.step > 0) && 'the price step is no whole number above 0',
    !(Number.isInteger(priceStep.decimals) && priceStep.decimals >= 0 && priceStep.decimals <= 12) &&
      'the price step has not 0 to 12 decimals',
    !isEventTime(startMicros) && 'the start is outside [2000, 2100)',
  ].find((sentence) => sentence !== false);
  if (wrong !== undefined) throw new RangeError(wrong);
}
