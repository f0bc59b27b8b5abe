import type { Micros } from '../time.ts';

/** The aggressor's side: 1 bought, −1 sold. */
export type Side = 1 | -1;

export type Origin = 'live' | 'replay';

/** What an event does not say, or said otherwise than it is kept. An event that is encoded again has none. */
export type EventNote =
  /** a tick with neither seq nor trade_id, of a provider that is not declared identity: content: its seq is 0 */
  | 'unnumbered'
  /** a number with more digits than a double holds */
  | 'rounded'
  /** a side that is neither buy nor sell in any known spelling: null */
  | 'unknown_side';

/** Fields common to ticks and bars. Times are µs since 1970. */
interface EventBase {
  /** 1-64 bytes of 0x21-0x7E without `|` */
  provider: string;
  /** 1-128 bytes of printable UTF-8 without `|` and a-z, blanks inside alone */
  symbol: string;
  /** when it happened, in [2000, 2100); for a bar the start of its window */
  srcTs: Micros;
  /** when the producer received it; null: not stated */
  ingestTs: Micros | null;
  /** distinguishes events of the same µs; 0 … 2^63 − 1 */
  seq: bigint;
  origin: Origin;
  /** 1 … 2^63 − 1 when origin is replay, else null */
  replayRunId: bigint | null;
  /** provider|symbol|src_ts|seq, plus |interval for a bar: always derived from the fields, never taken from input */
  eventId: string;
  /** left out: it is what was sent */
  notes?: readonly EventNote[];
}

export interface TickEvent extends EventBase {
  kind: 'tick';
  /** finite; may be zero or negative, as prices of some futures have been */
  price: number;
  /** ≥ 0 */
  size: number | null;
  bid: number | null;
  ask: number | null;
  side: Side | null;
}

export interface BarEvent extends EventBase {
  kind: 'bar';
  /** in its largest unit: `1m`, never `60s` (interval.ts) */
  interval: string;
  open: number;
  high: number;
  low: number;
  close: number;
  /** ≥ 0 */
  volume: number;
}

/** A valid event of topic mdp.events. */
export type MarketEvent = TickEvent | BarEvent;
