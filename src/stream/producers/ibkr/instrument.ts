import type { MarketEvent } from '../../../core/market/event.ts';
import { normalise } from '../../../core/market/normalise.ts';
import type { Refusal } from '../../../core/market/refusal.ts';
import { formatMicros, type Micros } from '../../../core/time.ts';

/** A trade as TWS reports it. */
export interface TwsTrade {
  /** µs; TWS reports whole seconds tick by tick, and ms on a market data line */
  micros: Micros;
  price: number;
  size: number | null;
}

/**
 * The trades of one instrument as events. bid and ask are the last quote before the trade. TWS does not say who was the
 * aggressor: a trade at or above the ask counts as a buy, at or below the bid as a sell, between them as neither.
 *
 * TWS does not number trades, and a second has many of them: seq is the µs at which the trade was received, always above
 * the previous one, so that two trades never share an id, even across a restart.
 */
export class Instrument {
  readonly provider: string;
  readonly symbol: string;
  #bid: number | null = null;
  #ask: number | null = null;
  #seq = 0n;

  constructor(provider: string, symbol: string) {
    this.provider = provider;
    this.symbol = symbol;
  }

  /** TWS sends 0 or −1 when there is none. */
  bid(price: number | undefined): void {
    this.#bid = price === undefined || price === 0 || price === -1 ? null : price;
  }

  ask(price: number | undefined): void {
    this.#ask = price === undefined || price === 0 || price === -1 ? null : price;
  }

  /** Quotes from before an interruption say nothing about trades after it. */
  forgetQuote(): void {
    this.#bid = null;
    this.#ask = null;
  }

  trade({ micros, price, size }: TwsTrade, nowMicros: Micros): MarketEvent | Refusal {
    this.#seq = nowMicros > this.#seq ? nowMicros : this.#seq + 1n;
    const [bid, ask] = [this.#bid, this.#ask];
    const isBuy = ask !== null && price >= ask;
    const isSell = bid !== null && price <= bid;
    return normalise({
      kind: 'tick',
      provider: this.provider,
      symbol: this.symbol,
      src_ts: formatMicros(micros),
      ingest_ts: formatMicros(nowMicros),
      seq: this.#seq,
      price,
      size,
      bid,
      ask,
      // a locked or crossed quote is ambiguous
      side: isBuy === isSell ? null : isBuy ? 'buy' : 'sell',
    });
  }
}

const SECONDS = /^\d{9,11}$/;

/** Tick by tick the time is whole seconds since 1970; null when it is none. */
export function secondsToMicros(time: string | number): Micros | null {
  const text = String(time);
  return SECONDS.test(text) ? BigInt(text) * 1_000_000n : null;
}

const RT_VOLUME = /^([^;]*);([^;]*);(\d{12,14});/;

/**
 * The text of generic tick 233: price;size;time in ms;total volume;vwap;single. null when it holds no trade: TWS sends
 * one without a price when only the volume changed.
 */
export function parseRtVolume(text: string): TwsTrade | null {
  const match = RT_VOLUME.exec(text);
  if (match === null || match[1] === '') return null;
  const [price, size] = [Number(match[1]), Number(match[2])];
  if (!Number.isFinite(price)) return null;
  return {
    micros: BigInt(match[3]) * 1000n,
    price,
    size: match[2] === '' || !Number.isFinite(size) ? null : size,
  };
}
