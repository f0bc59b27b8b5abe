import { formatMicros, parseIsoMicros, type Micros } from '../time.ts';

/** 2000-01-01T00:00:00Z */
export const EVENT_TIME_FIRST_US: Micros = 946_684_800_000_000n;
/** 2100-01-01T00:00:00Z, exclusive */
export const EVENT_TIME_END_US: Micros = 4_102_444_800_000_000n;

/** A time and its canonical text: six decimals and Z. */
export interface EventTime {
  micros: Micros;
  text: string;
}

export function isEventTime(micros: Micros): boolean {
  return micros >= EVENT_TIME_FIRST_US && micros < EVENT_TIME_END_US;
}

export function eventTime(micros: Micros): EventTime {
  return { micros, text: formatMicros(micros) };
}

/**
 * Parses an ISO-8601 time; UTC if it has no zone.
 * @throws RangeError saying what is wrong with it
 */
export function parseEventTime(text: string): EventTime {
  const micros = canonicalMicros(text);
  return micros < 0 ? eventTime(parseIsoMicros(text)) : { micros: BigInt(micros), text };
}

const CANONICAL_LENGTH = '2025-10-24T14:02:01.234567Z'.length;
const [ZERO, DASH, COLON, POINT, UPPER_T, UPPER_Z] = [48, 45, 58, 46, 84, 90];
const MICROS_PER_SECOND = 1_000_000;
const SECONDS_PER_DAY = 86_400;
/** days before each month in a non-leap year */
const DAYS_BEFORE_MONTH = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
const DAYS_BEFORE_2000 = 10_957;

/**
 * µs of a time in the canonical form this program writes, from 2000 to 2099; −1 for any other text, which is left to
 * parseIsoMicros. On the hot path of consumers: no regular expression; a double is exact until 2255.
 */
function canonicalMicros(text: string): number {
  if (
    text.length !== CANONICAL_LENGTH ||
    text.charCodeAt(4) !== DASH ||
    text.charCodeAt(7) !== DASH ||
    text.charCodeAt(10) !== UPPER_T ||
    text.charCodeAt(13) !== COLON ||
    text.charCodeAt(16) !== COLON ||
    text.charCodeAt(19) !== POINT ||
    text.charCodeAt(26) !== UPPER_Z
  ) {
    return -1;
  }
  const century = twoDigits(text, 0);
  const year = twoDigits(text, 2);
  const month = twoDigits(text, 5);
  const day = twoDigits(text, 8);
  const hour = twoDigits(text, 11);
  const minute = twoDigits(text, 14);
  const second = twoDigits(text, 17);
  const fraction = twoDigits(text, 20) * 10_000 + twoDigits(text, 22) * 100 + twoDigits(text, 24);
  // NaN fails every comparison; days 29-31 are left to parseIsoMicros, which knows the months
  if (!(century === 20 && month >= 1 && month <= 12 && day >= 1 && day <= 28)) return -1;
  if (!(hour <= 23 && minute <= 59 && second <= 59 && fraction >= 0 && year >= 0)) return -1;
  // from 2000 to 2099 every fourth year is a leap year, and 2000 itself is one
  const leapDays = Math.floor((year + 3) / 4) + (year % 4 === 0 && month > 2 ? 1 : 0);
  const days = DAYS_BEFORE_2000 + year * 365 + leapDays + DAYS_BEFORE_MONTH[month - 1] + day - 1;
  return (days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second) * MICROS_PER_SECOND + fraction;
}

/** NaN when either is not a digit. */
function twoDigits(text: string, at: number): number {
  const tens = text.charCodeAt(at) - ZERO;
  const ones = text.charCodeAt(at + 1) - ZERO;
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : NaN;
}
