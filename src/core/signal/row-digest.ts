import { createHash } from 'node:crypto';
import { StateIn, StateOut } from '../feature/series/state.ts';

const HOUR_US = 3_600_000_000;
const BITS = 128n;

/** Of the looks of one symbol in an hour: how many, and the sum of their digests modulo 2^128, in which their order does not matter. */
export interface HourDigest {
  /** start of the hour with the looks' times, µs since 1970 */
  hourUs: number;
  /** times of the first and the last one */
  firstUs: number;
  lastUs: number;
  rows: number;
  digest: bigint;
}

/** The first 128 bits of a SHA-256 over provider, symbol, time and values of a look, each value as the 8 bytes of its double. */
export function rowDigest(provider: string, symbol: string, tsUs: number, values: Float64Array): bigint {
  const bytes = new DataView(new ArrayBuffer(8 + 8 * values.length));
  bytes.setFloat64(0, tsUs);
  for (let at = 0; at < values.length; at += 1) {
    // NaN has many bit patterns, -0 is 0
    const value = values[at];
    bytes.setFloat64(8 + 8 * at, Number.isNaN(value) ? NaN : value === 0 ? 0 : value);
  }
  const hash = createHash('sha256')
    .update(`${provider}|${symbol}|`)
    .update(new Uint8Array(bytes.buffer))
    .digest();
  return hash.readBigUInt64BE(0) * 2n ** 64n + hash.readBigUInt64BE(8);
}

export function sumOfDigests(one: bigint, other: bigint): bigint {
  return BigInt.asUintN(Number(BITS), one + other);
}

/** 32 hex digits. */
export function digestText(digest: bigint): string {
  return digest.toString(16).padStart(32, '0');
}

const NO_HOUR: HourDigest = { hourUs: NaN, firstUs: NaN, lastUs: NaN, rows: 0, digest: 0n };

/** The digests of a symbol's looks, hour by hour; their times rise. */
export class HourDigests {
  #hour: HourDigest | null = null;
  /** hours that changed since they were taken, but for the current one */
  #closed: HourDigest[] = [];
  #isChanged = false;

  add(provider: string, symbol: string, tsUs: number, values: Float64Array): void {
    const hourUs = Math.floor(tsUs / HOUR_US) * HOUR_US;
    if (this.#hour === null || this.#hour.hourUs !== hourUs) {
      if (this.#hour !== null && this.#isChanged) this.#closed.push(this.#hour);
      this.#hour = { hourUs, firstUs: tsUs, lastUs: tsUs, rows: 0, digest: 0n };
    }
    this.#hour.rows += 1;
    this.#hour.lastUs = tsUs;
    this.#hour.digest = sumOfDigests(this.#hour.digest, rowDigest(provider, symbol, tsUs, values));
    this.#isChanged = true;
  }

  /** Those that changed since the last call, as they are now. */
  take(): HourDigest[] {
    const changed = this.#closed;
    if (this.#hour !== null && this.#isChanged) changed.push({ ...this.#hour });
    this.#closed = [];
    this.#isChanged = false;
    return changed;
  }

  save(out: StateOut): void {
    const { hourUs, firstUs, lastUs, rows, digest } = this.#hour ?? NO_HOUR;
    out.f64(hourUs);
    out.f64(firstUs);
    out.f64(lastUs);
    out.f64(rows);
    out.i64(BigInt.asIntN(64, digest >> 64n));
    out.i64(BigInt.asIntN(64, digest));
  }

  load(state: StateIn): void {
    const hourUs = state.f64();
    const firstUs = state.f64();
    const lastUs = state.f64();
    const rows = state.f64();
    const high = BigInt.asUintN(64, state.i64());
    const low = BigInt.asUintN(64, state.i64());
    this.#hour = Number.isNaN(hourUs)
      ? null
      : { hourUs, firstUs, lastUs, rows, digest: high * 2n ** 64n + low };
  }
}
