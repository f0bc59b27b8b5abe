import { upperCased } from '../../../core/market/identity/symbol.ts';
import type { MarketEvent } from '../../../core/market/event.ts';
import { normalise } from '../../../core/market/normalise.ts';
import type { Refusal } from '../../../core/market/refusal.ts';
import { formatMicros, type Micros } from '../../../core/time.ts';
import { traitsOf, type ContractSpec, type Traits } from './contract.ts';
import { priceOf, sizeOf, type TwsPrice, type TwsTrade } from './values.ts';

/** A change of the best quote: what it does not hold is unchanged. */
export interface TwsQuote {
  /** µs; null: TWS sent no time */
  micros: Micros | null;
  bid?: TwsPrice;
  ask?: TwsPrice;
}

/** Digits of a double that are always right: the middle of 1.1 and 1.1001 is 1.10005. */
const MID_DIGITS = 15;

/**
 * What TWS says of one instrument as events. bid and ask are the last quote before the trade. TWS does not say who was the
 * aggressor: a trade at or above the ask counts as a buy, at or below the bid as a sell, between them as neither.
 *
 * TWS does not number trades, and a second has many of them: seq is the µs at which the trade was received, always above
 * the previous one, so that two trades never share an id, even across a restart.
 */
export class Instrument {
  readonly provider: string;
  readonly symbol: string;
  readonly spec: ContractSpec;
  #traits: Traits;
  #bid: number | null = null;
  #ask: number | null = null;
  #published = '';
  #seq = 0n;

  constructor(provider: string, spec: ContractSpec) {
    this.provider = provider;
    this.symbol = upperCased(spec.name);
    this.spec = spec;
    this.#traits = traitsOf(spec.secType);
  }

  get traits(): Traits {
    return this.#traits;
  }

  /** What TWS says it is. */
  resolved(secType: string | undefined): void {
    this.#traits = traitsOf(secType ?? this.spec.secType);
  }

  /** Whether this is a price, as opposed to what TWS sends when it has none. */
  isPrice(given: TwsPrice | undefined): boolean {
    return given !== undefined && this.#quoted(given) !== null;
  }

  /** The event that it is: none for an instrument with trades, or while a side is missing or nothing has changed. */
  quote({ bid, ask, micros }: TwsQuote, nowMicros: Micros): MarketEvent | Refusal | null {
    if (bid !== undefined) this.#bid = this.#quoted(bid);
    if (ask !== undefined) this.#ask = this.#quoted(ask);
    if (this.#traits.price === 'last' || this.#bid === null || this.#ask === null) return null;
    const published = `${this.#bid} ${this.#ask}`;
    if (published === this.#published) return null;
    this.#published = published;
    const price = Number(((this.#bid + this.#ask) / 2).toPrecision(MID_DIGITS));
    return this.#event(price, null, null, micros, nowMicros);
  }

  /** Quotes from before an interruption say nothing about trades after it. */
  forgetQuote(): void {
    this.#bid = null;
    this.#ask = null;
  }

  /** null: it is no trade, as TWS has no price for it. */
  trade(given: TwsTrade, nowMicros: Micros): MarketEvent | Refusal | null {
    const size = sizeOf(given.size);
    const price = priceOf({ price: given.price, size: size ?? 0 }, this.#traits.mayBeNegative);
    if (price === null) return null;
    const isBuy = this.#ask !== null && price >= this.#ask;
    const isSell = this.#bid !== null && price <= this.#bid;
    // a locked or crossed quote is ambiguous
    const side = isBuy === isSell ? null : isBuy ? 'buy' : 'sell';
    return this.#event(price, size, side, given.micros, nowMicros);
  }

  #event(
    price: number,
    size: number | null,
    side: 'buy' | 'sell' | null,
    micros: Micros | null,
    nowMicros: Micros,
  ): MarketEvent | Refusal {
    this.#seq = nowMicros > this.#seq ? nowMicros : this.#seq + 1n;
    return normalise({
      kind: 'tick',
      provider: this.provider,
      symbol: this.symbol,
      src_ts: formatMicros(micros ?? nowMicros),
      ingest_ts: formatMicros(nowMicros),
      seq: this.#seq,
      price,
      size,
      bid: this.#bid,
      ask: this.#ask,
      side,
    });
  }

  #quoted(given: TwsPrice): number | null {
    const price = priceOf(given, this.#traits.mayBeNegative);
    return price === null || !Number.isFinite(price) ? null : price;
  }
}
