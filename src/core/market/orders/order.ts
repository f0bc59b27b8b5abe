import { isRounded } from '../codec/precision.ts';
import { eventIdOf } from '../event-id.ts';
import { isEventTime } from '../event-time.ts';
import type { Side, TickEvent } from '../event.ts';
import { formatMicros, type Micros } from '../../time.ts';

/** Market name and precision of a Solana mint. */
export interface Mint {
  /** its part of a symbol such as SOL-USDC */
  name: string;
  /** decimals of its integer amounts: 9 for SOL, so 1 SOL is 10^9 */
  decimals: number;
}

export type Mints = ReadonlyMap<string, Mint>;

export const DEFAULT_MINTS: Mints = new Map([
  ['So11111111111111111111111111111111111111112', { name: 'SOL', decimals: 9 }],
  ['EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v', { name: 'USDC', decimals: 6 }],
]);

/** Position of an order on the chain. */
export interface OrderPlace {
  /** timestamp of the tick that holds it, µs */
  tickTimestamp: Micros;
  /** its number on the chain, increasing across ticks */
  sequenceNumber: bigint;
  /** when it is published; null leaves ingest_ts out */
  ingestTs: Micros | null;
}

/** Why a payload is not an order known to the market side. Not an error: it is counted and ignored. */
export type UnknownPayloadReason =
  /** does not start with `FRM_v1.0:` */
  | 'other_protocol'
  /** longer than any order; not read */
  | 'too_large'
  /** not UTF-8, not JSON, or not an object with an intent */
  | 'not_json'
  /** `type` is not order */
  | 'other_type'
  | 'unknown_mint'
  /** side, price or quantity is absent or malformed */
  | 'bad_field'
  /** price 0: an order at any price */
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
/** the same for every price, whatever the mints */
const PRICE_DECIMALS = 9;
const UTF8 = new TextDecoder('utf-8', { fatal: true });

/** The market event of a transaction's payload. Never throws, whatever a client sent. */
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
  const isCut =
    isRounded(decimalOf(intent.get('price'), PRICE_DECIMALS), price) ||
    isRounded(decimalOf(intent.get('quantity'), base.decimals), size);
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
    ...(isCut ? { notes: ['rounded'] } : {}),
  };
}

function unknown(reason: UnknownPayloadReason): UnknownPayload {
  return { kind: 'unknown', reason };
}

/** A JSON number kept as its digits: u64 values exceed a double's precision. */
class Digits {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** Parses JSON into maps, so that no key can collide with Object.prototype. null when it is not an object. */
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

/** The double nearest to a u64 / 10^decimals: rounded only once, by Number() reading the decimal text. */
function scaled(value: unknown, decimals: number): number | null {
  const decimal = decimalOf(value, decimals);
  return decimal === null ? null : Number(decimal);
}

/** null: no u64 */
function decimalOf(value: unknown, decimals: number): string | null {
  const digits = value instanceof Digits ? value.text : value;
  if (typeof digits !== 'string' || !U64_DIGITS.test(digits) || BigInt(digits) > U64_MAX) return null;
  return decimals === 0 ? digits : `${digits}e-${decimals}`;
}
