import { decoder, type Decoded, type Time } from './wire.ts';

/** What a source sends that has its own words for nothing: an exact number where a double holds it, else its digits. */
export type ExactNumber = number | string;

export interface MarketTickJson {
  kind: 'market';
  provider: string;
  symbol: string;
  ts: string;
  price: number;
  size: number | null;
  bid: number | null;
  ask: number | null;
  /** 1 bought, −1 sold */
  side: number | null;
  seq: string;
}

export interface WebhookTickJson {
  kind: 'webhook';
  source: string;
  symbol: string;
  ts: string;
  price: ExactNumber;
  volume: ExactNumber;
  seq: string;
}

/** A tick of the bus, as tick_data has it. */
export type MarketTick = Decoded<MarketTickJson, 'seq'>;
/** A tick of POST /ingest/tick, as md_ticks has it. */
export type WebhookTick = Decoded<WebhookTickJson, 'seq'>;
export type Tick = MarketTick | WebhookTick;

export interface TickQuery {
  /** default: webhook with a source, market with a provider, else what the route says */
  kind?: 'market' | 'webhook';
  /** of market ticks; default: all */
  provider?: string;
  /** of webhook ticks; default: all */
  source?: string;
}

/** What ticks a query asks for. */
export type TickOf<Query> = Query extends { kind: 'market' } | { provider: string }
  ? MarketTick
  : Query extends { kind: 'webhook' } | { source: string }
    ? WebhookTick
    : Tick;

export interface TickRangeQuery extends TickQuery {
  /** both included; without an end: up to the newest */
  start: Time;
  end?: Time;
}

export interface SymbolsQuery {
  /** default: market */
  kind?: 'market' | 'webhook';
  /** of market ticks; default: all */
  provider?: string;
}

export interface SymbolItem {
  /** null: webhook ticks */
  provider: string | null;
  symbol: string;
}

export interface BarJson {
  provider: string;
  symbol: string;
  interval: string;
  ts: string;
  open: number;
  high: number;
  low: number;
  close: number;
  volume: number | null;
  vwap: number | null;
  tick_count: number;
  first_ts: string;
  last_ts: string;
  is_final: boolean;
  revision: number;
  updated_at: string;
}

export type Bar = BarJson;

/** A version of a bar that a correction replaced. */
export interface FormerBar extends BarJson {
  replaced_at: string;
}

export interface BarsQuery {
  provider: string;
  symbol: string;
  /** 1m, 2s, 1500ms …; default: 1m */
  interval?: string;
  /** windows that begin in [start, end) */
  start?: Time;
  end?: Time;
  /** by time; default: asc */
  order?: 'asc' | 'desc';
}

export interface StoredBarsQuery extends BarsQuery {
  /** of a replay; default: live bars */
  run?: number;
}

export interface Signal {
  provider: string;
  symbol: string;
  ts: string;
  name: string;
  value: number;
  score: number | null;
  metadata: unknown;
  /** 0: live */
  replay_run_id: number;
  created_at: string;
}

/** By provider and symbol, by name, or by all three. */
export interface SignalsQuery {
  provider?: string;
  symbol?: string;
  name?: string;
  /** in [start, end) */
  start?: Time;
  end?: Time;
  /** of a replay; default: live signals */
  run?: number;
  /** by time; default: desc */
  order?: 'asc' | 'desc';
}

/** What the webhook ticks of a symbol amount to in [start, end). */
export interface TickAggregate {
  symbol: string;
  start: string;
  end: string;
  open: ExactNumber;
  high: ExactNumber;
  low: ExactNumber;
  close: ExactNumber;
  volume: ExactNumber;
  count: number;
}

export interface RangesQuery {
  symbol: string;
  /** ranges that share a moment with [start, end) */
  start: Time;
  end: Time;
}

/** A tick for POST /ingest/tick. Prices and volumes with all their digits as strings, or as numbers. */
export interface OutgoingTick {
  symbol: string;
  ts: Time;
  price: ExactNumber;
  volume: ExactNumber;
  source: string;
  /** tells ticks of one source and microsecond apart */
  seq?: number | bigint | string;
}

export const decodeTick: (item: unknown) => Tick = decoder<MarketTickJson | WebhookTickJson, 'seq'>('seq');
export const decodeSymbol = decoder<SymbolItem, never>();
export const decodeBar = decoder<Bar, never>();
export const decodeFormerBar = decoder<FormerBar, never>();
export const decodeSignal = decoder<Signal, never>();
export const decodeAggregate = decoder<TickAggregate, never>();
