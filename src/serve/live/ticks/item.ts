import type { TickEvent } from '../../../core/market/event.ts';
import { formatMicros } from '../../../core/time.ts';
import type { StoredTick } from '../../../store/live/ticks.ts';
import type { LiveEvent } from '../event.ts';

export interface TickLiveEvent extends LiveEvent {
  tick: StoredTick;
}

/** A tick as the queries give it (kind market), the same whether it comes from the table or from the bus. */
export function tickEvent(tick: StoredTick, id: string): TickLiveEvent {
  return new TickItem(tick, id);
}

/** Thousands of them are remembered: no closures, and texts in one piece. */
class TickItem implements TickLiveEvent {
  readonly event = 'tick';
  readonly id: string;
  readonly data: string;
  readonly tick: StoredTick;

  constructor(tick: StoredTick, id: string) {
    this.tick = tick;
    this.id = inOnePiece(id);
    this.data = inOnePiece(tickJson(tick, formatMicros(tick.ts)));
  }

  get provider(): string {
    return this.tick.provider;
  }

  get symbol(): string {
    return this.tick.symbol;
  }

  fields(): Record<string, unknown> {
    return fieldsOf(this.tick, formatMicros(this.tick.ts));
  }
}

const NOTHING = /^\0/;

/** V8 keeps a text that was put together as its pieces, three times its size, until a pattern is looked for in it. */
function inOnePiece(text: string): string {
  NOTHING.test(text);
  return text;
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
