import { hash } from 'node:crypto';
import { refuse, shown, type Refusal } from '../refusal.ts';
import type { TickEvent } from '../event.ts';

const TRADE_ID_BYTES_MAX = 128;
const WHOLE = /^(?:0|[1-9]\d{0,18})$/;
const INT64_MAX = 0x7fff_ffff_ffff_ffffn;

/**
 * The seq of a provider's own name of a trade: the number it is, or 62 bits of its SHA-256. null: it is empty, which is
 * how exports of tables spell that there is none.
 */
export function tradeNumber(value: unknown): bigint | null | Refusal {
  const text = textOf(value);
  if (text === null) {
    const why = 'is no text and no whole number whose digits are all known';
    return refuse('bad_trade_id', `trade_id ${shown(value)} ${why}`);
  }
  if (text === '') return null;
  if (WHOLE.test(text)) {
    const number = BigInt(text);
    if (number <= INT64_MAX) return number;
  }
  if (text.length > TRADE_ID_BYTES_MAX || Buffer.byteLength(text) > TRADE_ID_BYTES_MAX)
    return refuse('bad_trade_id', `trade_id ${shown(text)} has more than ${TRADE_ID_BYTES_MAX} bytes`);
  return text.isWellFormed()
    ? sixtyTwoBits(text)
    : refuse('bad_trade_id', `trade_id ${shown(text)} has half a surrogate pair`);
}

function textOf(value: unknown): string | null {
  if (typeof value === 'string') return value;
  return typeof value === 'bigint' || Number.isSafeInteger(value) ? String(value) : null;
}

/**
 * The seq of a trade that its provider does not name: 62 bits of the SHA-256 of `price|size|bid|ask|side`, numbers as
 * the shortest digits that read back as the same double, side 1 or -1, absent ones empty.
 */
export function contentNumber({
  price,
  size,
  bid,
  ask,
  side,
}: Pick<TickEvent, 'price' | 'size' | 'bid' | 'ask' | 'side'>): bigint {
  return sixtyTwoBits(`${price}|${size ?? ''}|${bid ?? ''}|${ask ?? ''}|${side ?? ''}`);
}

/** The first 62 bits: at most 2^62 − 1, which every 64-bit integer holds. */
function sixtyTwoBits(text: string): bigint {
  return hash('sha256', text, 'buffer').readBigUInt64BE() >> 2n;
}
