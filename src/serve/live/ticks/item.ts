import type { TickEvent } from '../../../core/market/event.ts';
import { formatMicros } from '../../../core/time.ts';
import type { StoredTick } from '../../../store/live/ticks.ts';
import type { LiveEvent } from '../event.ts';

export interface TickLiveEvent extends LiveEvent {
  tick: StoredTick;
}

/** A tick as the queries give it (kind market), the same whether it comes from the table or from the bus. */
export function tickEvent(tick: StoredTick, id: string): TickLiveEvent {
  const { provider, symbol } = tick;
  const at = formatMicros(tick.ts);
  return {
    id,
    event: 'tick',
    data: tickJson(tick, at),
    provider,
    symbol,
    fields: () => fieldsOf(tick, at),
    tick,
  };
}

export function storedTick({
  provider,
  symbol,
  srcTs,
  seq,
  price,
  size,
  bid,
  ask,
  side,
}: TickEvent): StoredTick {
  return { provider, symbol, ts: srcTs, seq, price, size, bid, ask, side };
}

/** What tells a tick from all others, as one text. */
export function keyText({
  provider,
  symbol,
  ts,
  seq,
}: {
  provider: string;
  symbol: string;
  ts: bigint;
  seq: bigint;
}): string {
  return `${provider}|${symbol}|${ts}|${seq}`;
}

export function tickJson(
  { provider, symbol, price, size, bid, ask, side, seq }: StoredTick,
  at: string,
): string {
  return `{"kind":"market","provider":${quoted(provider)},"symbol":${quoted(symbol)},"ts":"${at}","price":${price},"size":${size},"bid":${bid},"ask":${ask},"side":${side},"seq":"${seq}"}`;
}

function fieldsOf(
  { provider, symbol, price, size, bid, ask, side, seq }: StoredTick,
  at: string,
): Record<string, unknown> {
  const word = side === null ? null : side > 0 ? 'buy' : 'sell';
  return { kind: 'tick', provider, symbol, ts: at, src_ts: at, price, size, bid, ask, side: word, seq };
}

/** names repeat; at so many the memory of them is cleared */
const QUOTED_MAX = 10_000;
const quotes = new Map<string, string>();

function quoted(text: string): string {
  let found = quotes.get(text);
  if (found === undefined) {
    if (quotes.size >= QUOTED_MAX) quotes.clear();
    found = JSON.stringify(text);
    quotes.set(text, found);
  }
  return found;
}
