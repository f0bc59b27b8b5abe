import { hiWord, loWord } from '../../chain/u64.ts';

/**
 * Binary timestamptz is an int64 of µs since 2000-01-01; the chain's times are u64 µs since 1970. Everything here works
 * on pairs of uint32 words (hi, lo), which are exact and allocate nothing.
 */

const EPOCH_2000_MICROS = 946_684_800_000_000n;
const DAY_MICROS = 86_400_000_000n;
/** 294276-12-31 23:59:59.999999, the latest time a timestamptz can hold, in µs since 1970. Every u64 is above the earliest. */
const TIMESTAMPTZ_LAST_MICROS = 9_223_371_331_199_999_999n + EPOCH_2000_MICROS;

const EPOCH_2000_HI = hiWord(EPOCH_2000_MICROS);
const EPOCH_2000_LO = loWord(EPOCH_2000_MICROS);
const LAST_HI = hiWord(TIMESTAMPTZ_LAST_MICROS);
const LAST_LO = loWord(TIMESTAMPTZ_LAST_MICROS);

/** Whether a timestamptz can hold this time. */
export function isTimestamptz(hi: number, lo: number): boolean {
  return hi < LAST_HI || (hi === LAST_HI && lo <= LAST_LO);
}

/** Whether a time lies in [2000-01-01, latest]. */
export function isFrom2000To(hi: number, lo: number, latestHi: number, latestLo: number): boolean {
  const early = hi < EPOCH_2000_HI || (hi === EPOCH_2000_HI && lo < EPOCH_2000_LO);
  const late = hi > latestHi || (hi === latestHi && lo > latestLo);
  return !early && !late;
}

/** The latest timestamp a tick may have: a day from now, within the range of a timestamptz. */
export function latestTickMicros(nowMicros: bigint): bigint {
  const latest = nowMicros + DAY_MICROS;
  if (latest < 0n) return 0n;
  return latest > TIMESTAMPTZ_LAST_MICROS ? TIMESTAMPTZ_LAST_MICROS : latest;
}

/** Writes µs since 1970 as a field of a row: its length, 8, and its value. Returns the position after it. */
export function writeTimestamptz(view: DataView, at: number, hi: number, lo: number): number {
  view.setInt32(at, 8);
  view.setInt32(at + 4, (hi - EPOCH_2000_HI - (lo < EPOCH_2000_LO ? 1 : 0)) | 0);
  view.setInt32(at + 8, (lo - EPOCH_2000_LO) | 0);
  return at + 12;
}
