/** Integer microseconds since 1970-01-01T00:00:00Z; never a Date, never a float. */
export type Micros = bigint;

/** Time as a parameter, for pure code and tests. */
export interface Clock {
  /** Wall clock, µs since 1970. May step when the machine's clock is set. */
  nowMicros(): Micros;
  /** Fractional milliseconds that never decrease, on one scale for all threads of the process. */
  monotonicMs(): number;
}

/** ms since 1970, whole. */
export function wallMs(clock: Clock): number {
  return Number(clock.nowMicros() / 1000n);
}

const MICROS_PER_SECOND = 1_000_000n;
const SECONDS_PER_DAY = 86_400;
/** Days from 0000-03-01 to 1970-01-01: years start in March, so that the leap day is the last day of a year. */
const EPOCH_FROM_MARCH_ZERO_DAYS = 719_468;
const DAYS_PER_ERA = 146_097; // 400 Gregorian years

/**
 * ISO-8601 in UTC with six decimals and Z. Years outside 0000..9999 have a sign and at least six digits, as ISO-8601
 * requires (`+010000-01-01T00:00:00.000000Z`). Exact for all of int64 and uint64, far beyond the range of a Date.
 */
export function formatMicros(micros: Micros): string {
  const seconds = floorDivide(micros, MICROS_PER_SECOND);
  const fraction = micros - seconds * MICROS_PER_SECOND;
  const secondsOfEpoch = Number(seconds); // |value| < 2^45 for a 64-bit µs: exact
  const days = Math.floor(secondsOfEpoch / SECONDS_PER_DAY);
  const secondOfDay = secondsOfEpoch - days * SECONDS_PER_DAY;
  const { year, month, day } = civilFromDays(days);
  const time = `${pad(Math.floor(secondOfDay / 3600), 2)}:${pad(Math.floor(secondOfDay / 60) % 60, 2)}:${pad(secondOfDay % 60, 2)}`;
  return `${formatYear(year)}-${pad(month, 2)}-${pad(day, 2)}T${time}.${fraction.toString().padStart(6, '0')}Z`;
}

/** Extended (`2025-01-01T12:00:00`) or basic (`20250101T120000`), each of date and time in itself. */
const ISO =
  /^([+-]\d{4,6}(?=-)|\d{4})(-?)(\d\d)\2(\d\d)(?:[Tt ](\d\d)(:?)(\d\d)(?:\6(\d\d)(?:[.,](\d{1,12}))?)?)?(?:\s?(Z|UTC|GMT|[+-]\d\d(?::?\d\d)?(?: UTC)?))?$/i;

/**
 * Microseconds of an ISO-8601 time. A date alone is its midnight; a time without a zone is UTC, and so is one that says
 * UTC or GMT in place of Z; digits below a microsecond are truncated, never rounded up. A 60th second, as of a leap
 * second, is the first of the next minute, and 24:00 the midnight that ends the day.
 * @throws RangeError when the text is not such a time or has a day or an hour that does not exist
 */
export function parseIsoMicros(text: string): Micros {
  const match = ISO.exec(text);
  const isDateAlone = match?.[5] === undefined;
  // eight digits alone are rather a number
  if (match === null || (isDateAlone && match[2] === '')) {
    throw new RangeError('not an ISO-8601 time such as 2025-01-01T12:00:00.000000Z');
  }
  const [year, month, day, hour, minute, second] = [1, 3, 4, 5, 7, 8].map((at) => Number(match[at] ?? 0)) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  if (month < 1 || month > 12) throw new RangeError(`month ${month} does not exist`);
  if (day < 1 || day > daysInMonth(year, month)) {
    throw new RangeError(`day ${day} does not exist in that month`);
  }
  const fraction = (match[9] ?? '').slice(0, 6).padEnd(6, '0');
  if (hour > 24 || minute > 59 || second > 60) throw new RangeError('a time of day beyond 23:59:60');
  if (hour === 24 && (minute > 0 || second > 0 || /[1-9]/.test(match[9] ?? ''))) {
    throw new RangeError('a time of day beyond 24:00:00');
  }
  const seconds =
    daysFromCivil(year, month, day) * SECONDS_PER_DAY +
    hour * 3600 +
    minute * 60 +
    second -
    offsetSeconds(match[10]);
  return BigInt(seconds) * MICROS_PER_SECOND + BigInt(fraction);
}

function offsetSeconds(zone: string | undefined): number {
  if (zone === undefined || !/^[+-]/.test(zone)) return 0;
  const digits = zone.slice(1, 6).replace(/\D/g, '');
  const hours = Number(digits.slice(0, 2));
  const minutes = Number(digits.slice(2) || 0);
  if (hours > 15 || minutes > 59) throw new RangeError(`zone ${zone} does not exist`);
  const seconds = (zone.startsWith('-') ? -1 : 1) * (hours * 3600 + minutes * 60);
  if (seconds !== 0 && / UTC$/i.test(zone)) throw new RangeError(`zone ${zone} contradicts itself`);
  return seconds;
}

function civilFromDays(daysOfEpoch: number): { year: number; month: number; day: number } {
  const days = daysOfEpoch + EPOCH_FROM_MARCH_ZERO_DAYS;
  const era = Math.floor(days / DAYS_PER_ERA);
  const dayOfEra = days - era * DAYS_PER_ERA;
  const leapless =
    dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096);
  const yearOfEra = Math.floor(leapless / 365);
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const marchMonth = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * marchMonth + 2) / 5) + 1;
  const month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9;
  return { year: era * 400 + yearOfEra + (month <= 2 ? 1 : 0), month, day };
}

function daysFromCivil(year: number, month: number, day: number): number {
  const marchYear = month <= 2 ? year - 1 : year;
  const era = Math.floor(marchYear / 400);
  const yearOfEra = marchYear - era * 400;
  const dayOfYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + day - 1;
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * DAYS_PER_ERA + dayOfEra - EPOCH_FROM_MARCH_ZERO_DAYS;
}

function daysInMonth(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

function formatYear(year: number): string {
  if (year >= 0 && year <= 9999) return pad(year, 4);
  return `${year < 0 ? '-' : '+'}${pad(Math.abs(year), 6)}`;
}

/** Rounded down, also of negative ones. */
export function floorDivide(dividend: bigint, divisor: bigint): bigint {
  const quotient = dividend / divisor;
  return dividend % divisor < 0n ? quotient - 1n : quotient;
}

function pad(value: number, digits: number): string {
  return String(value).padStart(digits, '0');
}

/** A larger difference means that the wall clock was set: re-anchor. Date.now() itself is truncated to 1 ms. */
const CLOCK_STEP_MS = 5;

/**
 * Wall clock with µs resolution: an anchor plus the monotonic counter, re-anchored when the machine's clock was stepped
 * (NTP slewing moves both alike).
 */
function createSystemClock(): Clock {
  let anchorMs = performance.timeOrigin;
  let threadOffsetMs: number | null = null;
  return {
    nowMicros() {
      const elapsedMs = performance.now();
      let wallMs = anchorMs + elapsedMs;
      const coarseMs = Date.now();
      if (Math.abs(wallMs - coarseMs) > CLOCK_STEP_MS) {
        anchorMs = coarseMs - elapsedMs;
        wallMs = coarseMs;
      }
      return BigInt(Math.floor(wallMs * 1000));
    },
    // not before it is asked for: browsers load this file as well, for its times alone, and have no process
    monotonicMs: () => performance.now() + (threadOffsetMs ??= monotonicOffsetMs()),
  };
}

/**
 * performance.now() starts at 0 in each thread; process.hrtime does not. Their difference, measured once, puts all
 * threads on one scale without a BigInt per call. Takes the tightest of a few brackets: a thread may be preempted.
 */
function monotonicOffsetMs(): number {
  let offsetMs = 0;
  let tightestMs = Infinity;
  for (let attempt = 0; attempt < 5; attempt++) {
    const before = performance.now();
    const machineMs = Number(process.hrtime.bigint()) / 1e6;
    const after = performance.now();
    if (after - before < tightestMs) {
      tightestMs = after - before;
      offsetMs = machineMs - (before + after) / 2;
    }
  }
  return offsetMs;
}

/** The only user of Date.now() and performance. */
export const systemClock: Clock = createSystemClock();
