import { formatMicros, type Micros } from '../../core/time.ts';

/** SQL for times: a timestamptz never becomes a Date, which has no microseconds. Each argument is SQL. */

/** A timestamptz as ISO-8601 text in UTC, to the microsecond. */
export function isoTime(time: string): string {
  return `to_char(${time} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;
}

/** The same, truncated to the second. */
export function isoSeconds(time: string): string {
  return `to_char(${time} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')`;
}

/** A timestamptz as µs since 1970 (bigint), exact. Fails on infinity and on times beyond the year 294247. */
export function microsOf(time: string): string {
  return `(extract(epoch FROM ${time}) * 1000000)::bigint`;
}

/**
 * The same as numeric, exact for every finite timestamptz: the last 11 days of the range exceed a bigint. Counted from
 * 2000, because extract() itself loses the µs of those days.
 */
export function wideMicrosOf(time: string): string {
  return `(extract(epoch FROM ${time} - timestamptz '2000-01-01 00:00:00+00') * 1000000 + 946684800000000)::numeric(20, 0)`;
}

/**
 * A timestamptz from µs since 1970 (bigint, or an expression cast to it). Exact for |µs| < 2^53, some 285 years around
 * 1970: the server multiplies an interval by a double.
 */
export function timeOf(micros: string): string {
  return `(timestamptz 'epoch' + ${micros}::bigint * interval '1 microsecond')`;
}

/** An interval in ms with fractions (float8). */
export function msOf(interval: string): string {
  return `(extract(epoch FROM ${interval}) * 1000)::float8`;
}

/** A condition that a column lies between two times, both included, µs since 1970. Constants: the planner sees which chunks it means. */
export function betweenTimes(column: string, from: Micros, to: Micros): string {
  return `${column} >= timestamptz '${formatMicros(from)}' AND ${column} <= timestamptz '${formatMicros(to)}'`;
}
