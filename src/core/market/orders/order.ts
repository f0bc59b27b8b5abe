import { eventIdOf } from '../event-id.ts';
import { isEventTime } from '../event-time.ts';
import type { Side, TickEvent } from '../event.ts';
import { formatMicros, type Micros } from '../../time.ts';

/** A Solana mint in the words of the market. */
export interface Mint {
  /** of a symbol such as SOL-USDC */
  name: string;
  /** of its integers: 9 for SOL, so 1 SOL is 10^9 */
  decimals: number;
}

export type Mints = ReadonlyMap<string, Mint>;

export const DEFAULT_MINTS: Mints = new Map([
  ['So11111111111111111111111111111111111111112', { name: 'SOL', decimals: 9 }],
  ['EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v', { name: 'USDC', decimals: 6 }],
]);

/** Where an order stands on the chain. */
export interface OrderPlace {
  /** µs, of the tick that holds it */
  tickTimestamp: Micros;
  /** its number on the chain; it goes up over all ticks */
  sequenceNumber: bigint;
  /** when it is published; null leaves ingest_ts out */
  ingestTs: Micros | null;
}

/** Why a payload is no order that the market side knows. Not an error: it is counted and left alone. */
export type UnknownPayloadReason =
  /** it does not begin with FRM_v1.0: */
  | 'other_protocol'
  /** longer than any order: it was not read */
  | 'too_large'
  /** no UTF-8, no JSON, or no object with an intent */
  | 'not_json'
  /** `type` is not order */
  | 'other_type'
  | 'unknown_mint'
  /** side, price or quantity is absent or malformed */
  | 'bad_field'
  /** price 0: it asks for any */
  | 'no_price'
  /** the tick's time is outside [2000, 2100) */
  | 'time_out_of_range';

export const UNKNOWN_PAYLOAD_REASONS: readonly UnknownPayloadReason[] = [
  ...(['other_protocol', 'too_large', 'not_json', 'other_type', 'unknown_mint', 'bad_field'] as const),
  ...(['no_price', 'time_out_of_range'] as const),
];

export interface UnknownPayload {
  kind: 'unknown';
  reason: UnknownPayloadReason;
}

export const ORDER_PROVIDER = 'continuum';
const PREFIX = Buffer.from('FRM_v1.0:');
/** of every price, whatever the mints */
const PRICE_DECIMALS = 9;
const UTF8 = new TextDecoder('utf-8', { fatal: true });

/** The market event of a transaction's payload. Never throws, whatever a client put in there. */
export function orderEvent(payload: Uint8Array, place: OrderPlace, mints: Mints): TickEvent | UnknownPayload {
  if (payload.length < PREFIX.length || PREFIX.compare(payload, 0, PREFIX.length) !== 0) {
    return unknown('other_protocol');
  }
  const order = readOrder(payload.subarray(PREFIX.length));
  if (order === null) return unknown('not_json');
  if (order.get('type') !== 'order') return unknown('other_type');
  const intent = order.get('intent');
  if (!(intent instanceof Map)) return unknown('not_json');
  const base = mintOf(intent.get('base_mint'), mints);
  const quote = mintOf(intent.get('quote_mint'), mints);
  if (base === null || quote === null) return unknown('unknown_mint');
  const side = sideOf(intent.get('side'));
  const price = scaled(intent.get('price'), PRICE_DECIMALS);
  const size = scaled(intent.get('quantity'), base.decimals);
  if (side === null || price === null || size === null) return unknown('bad_field');
  if (price === 0) return unknown('no_price');
  const { tickTimestamp: srcTs, sequenceNumber: seq, ingestTs } = place;
  if (!isEventTime(srcTs)) return unknown('time_out_of_range');
  const symbol = `${base.name}-${quote.name}`;
  return {
    kind: 'tick',
    provider: ORDER_PROVIDER,
    symbol,
    srcTs,
    ingestTs,
    seq,
    price,
    size,
    bid: null,
    ask: null,
    side,
    origin: 'live',
    replayRunId: null,
    eventId: eventIdOf(ORDER_PROVIDER, symbol, formatMicros(srcTs), seq, null),
  };
}

function unknown(reason: UnknownPayloadReason): UnknownPayload {
  return { kind: 'unknown', reason };
}

/** A number of JSON by its digits: u64 values exceed what a double holds. */
class Digits {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** JSON as maps, so that no name in it can be one of Object's own. null when it is no object. */
function readOrder(bytes: Uint8Array): Map<string, unknown> | null {
  let value: unknown;
  try {
    value = JSON.parse(UTF8.decode(bytes), reviveExactly);
  } catch {
    return null;
  }
  return value instanceof Map ? (value as Map<string, unknown>) : null;
}

function reviveExactly(this: unknown, _name: string, value: unknown, context?: { source?: string }): unknown {
  if (typeof value === 'number') return new Digits(context?.source ?? String(value));
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Digits) {
    return value;
  }
  return new Map(Object.entries(value));
}

function mintOf(value: unknown, mints: Mints): Mint | null {
  return typeof value === 'string' ? (mints.get(value) ?? null) : null;
}

function sideOf(value: unknown): Side | null {
  if (value === 'Buy') return 1;
  return value === 'Sell' ? -1 : null;
}

const U64_DIGITS = /^(?:0|[1-9]\d{0,19})$/;
const U64_MAX = 0xffff_ffff_ffff_ffffn;

/** The double nearest to a u64 / 10^decimals: the text is rounded once, by the reader of numbers. */
function scaled(value: unknown, decimals: number): number | null {
  const digits = value instanceof Digits ? value.text : value;
  if (typeof digits !== 'string' || !U64_DIGITS.test(digits) || BigInt(digits) > U64_MAX) return null;
  return Number(`${digits}e-${decimals}`);
}
