import type { TickDataRow } from '../../core/copy/tick-data.ts';
import { providerName } from '../../core/market/codec/field.ts';
import { rulesOf, symbolOf, type Providers } from '../../core/market/identity/providers.ts';
import { contentNumber, tradeNumber } from '../../core/market/identity/trade-number.ts';
import type { Refusal } from '../../core/market/refusal.ts';
import { sideOf } from '../../core/market/side.ts';
import { parseIsoMicros } from '../../core/time.ts';

/** A market tick as programs pass it in; names follow the columns of tick_data, and values the rules of events. */
export interface UpsertTick {
  provider: string;
  symbol: string;
  price: number;
  /** ISO-8601 (UTC if no zone is given), or µs since 1970. Never a Date: it has no microseconds. */
  ts: string | bigint;
  size?: number | null;
  bid?: number | null;
  ask?: number | null;
  /** buy, b, bid, 1, sell, s, ask or -1 in any case; anything else is stored as null */
  side?: string | number | null;
  /** distinguishes ticks of the same µs; default: what tradeId gives, else 0 (or what is declared of the provider) */
  seq?: bigint | number | string;
  /** the provider's own name of the trade, up to 128 bytes: the seq of a tick that has none */
  tradeId?: bigint | number | string | null;
}

/** @throws RangeError for a value that no column can hold */
export function rowOf(tick: UpsertTick, providers: Providers): TickDataRow {
  const { price, ts, size = null, bid = null, ask = null, side = null } = tick;
  const provider = accepted(providerName(tick.provider));
  const rules = rulesOf(providers, provider);
  const symbol = accepted(symbolOf(tick.symbol, rules));
  for (const value of [price, size, bid, ask]) {
    if (value !== null && !Number.isFinite(value)) throw new RangeError(`not a finite number: ${value}`);
  }
  const content = { price, size, bid, ask, side: side === null ? null : sideOf(side) };
  const given = tick.seq ?? (tick.tradeId == null ? null : accepted(tradeNumber(tick.tradeId)));
  const seq = given ?? (rules.identity === 'content' ? contentNumber(content) : 0n);
  return {
    provider,
    symbol,
    srcTs: typeof ts === 'bigint' ? ts : parseIsoMicros(ts),
    seq: BigInt(seq),
    ...content,
  };
}

function accepted<T extends string | bigint | null>(value: T | Refusal): T {
  if (typeof value === 'object' && value !== null) throw new RangeError(value.detail);
  return value;
}
