/** Durations in Go's format: `100ms`, `1h30m`, `1.5s`, `500us`, `0`. */

const NANOS_PER_UNIT: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  '\u00b5s': 1e3, // micro sign
  '\u03bcs': 1e3, // Greek mu, which Go accepts as well
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
};

/** Go stores a duration as int64 nanoseconds: about 292 years. */
const NANOS_MAX = 2 ** 63;

const EXAMPLES = 'such as 100ms, 1.5s, 500us, 30m or 1h30m';

/**
 * Milliseconds of a Go duration, including fractions. Negative durations are refused: nothing here waits for a negative
 * time.
 * @throws RangeError saying what is wrong and showing the format
 */
export function parseDuration(text: string): number {
  if (text === '0') return 0;
  if (text === '') throw new RangeError(`an empty duration; write one ${EXAMPLES}`);
  if (text.startsWith('-')) throw new RangeError(`a negative duration; write one ${EXAMPLES}`);
  const part = /(\d+\.?\d*|\.\d+)([^\d.]*)/gy;
  let nanos = 0;
  let end = 0;
  for (let match = part.exec(text); match !== null; match = part.exec(text)) {
    const unit = match[2];
    if (unit === '') throw new RangeError(`a number without a unit; write a duration ${EXAMPLES}`);
    const nanosPerUnit = Object.hasOwn(NANOS_PER_UNIT, unit) ? NANOS_PER_UNIT[unit] : 0;
    if (nanosPerUnit === 0) {
      throw new RangeError(`unknown unit ${JSON.stringify(unit)} (units are ns, us, ms, s, m, h)`);
    }
    nanos += Number(match[1]) * nanosPerUnit;
    end = part.lastIndex;
  }
  if (end !== text.length) throw new RangeError(`not a duration; write one ${EXAMPLES}`);
  if (nanos >= NANOS_MAX) throw new RangeError('longer than 292 years');
  return nanos / 1e6;
}
