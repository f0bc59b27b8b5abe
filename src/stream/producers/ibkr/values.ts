/** What TWS sends in place of a value that it does not have, and its times. */
import type { Micros } from '../../../core/time.ts';

/** A price as received, with the size that came with it. */
export interface TwsPrice {
  price: number | undefined;
  /** absent: the message has none */
  size?: number | undefined;
}

/** A trade as received. */
export interface TwsTrade {
  /** µs; TWS reports whole seconds tick by tick, and ms on a market data line; null: none */
  micros: Micros | null;
  price: number | undefined;
  size: number | null | undefined;
}

const INT32_MAX = 2_147_483_647;
/** Long.MAX_VALUE and the 2^127 − 1 of the decimal fields, as doubles, and whatever lies between. */
const INT64_MAX = 2 ** 63;

/** A size, or null when there is none: the largest number of its type, −1, empty. */
export function sizeOf(size: number | null | undefined): number | null {
  const isSize = size !== null && size !== undefined && size >= 0 && size < INT64_MAX && size !== INT32_MAX; // false for NaN
  return isSize ? size : null;
}

/**
 * A price, or null when there is none: 0, −1, the largest double, empty. Where prices may be negative, 0 and −1 are prices
 * if there is a size with them.
 */
export function priceOf({ price, size }: TwsPrice, mayBeNegative: boolean): number | null {
  if (price === undefined || Math.abs(price) === Number.MAX_VALUE) return null;
  if (price > 0 || Number.isNaN(price)) return price;
  if (!mayBeNegative) return null;
  if (price !== 0 && price !== -1) return price;
  return (sizeOf(size) ?? 0) > 0 ? price : null;
}

const SECONDS = /^\d{9,11}$/;

/** Tick by tick the time is whole seconds since 1970; null when it is none. */
export function secondsToMicros(time: string | number): Micros | null {
  const text = String(time);
  return SECONDS.test(text) && text !== String(INT32_MAX) ? BigInt(text) * 1_000_000n : null;
}

const RT_VOLUME = /^([^;]+);([^;]*);([^;]*);/;
const MILLIS = /^\d{12,14}$/;

/**
 * The text of generic tick 233: price;size;time in ms;total volume;vwap;single. null when it holds no trade: TWS sends
 * one without a price when only the volume changed.
 */
export function parseRtVolume(text: string): TwsTrade | null {
  const match = RT_VOLUME.exec(text);
  if (match === null) return null;
  const [price, size] = [Number(match[1]), Number(match[2])];
  if (!Number.isFinite(price)) return null;
  return {
    micros: MILLIS.test(match[3]) ? BigInt(match[3]) * 1000n : null,
    price,
    size: match[2] === '' ? null : size,
  };
}
