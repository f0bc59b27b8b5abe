/** Why an event cannot be used. Operators and metrics rely on these words: add new ones, never change existing ones. */
export type RefusalReason =
  /** longer than the limit; not parsed */
  | 'too_large'
  /** JSON text, or a msgpack string, that is not UTF-8 */
  | 'bad_utf8'
  | 'bad_json'
  | 'bad_msgpack'
  /** JSON or msgpack, but not an object */
  | 'not_an_object'
  /** `ver` is present and not 1 */
  | 'unknown_version'
  /** `kind` is neither tick nor bar, or both `kind` and price are absent */
  | 'unknown_kind'
  | 'missing_provider'
  | 'bad_provider'
  | 'missing_symbol'
  | 'bad_symbol'
  | 'missing_time'
  /** not an ISO-8601 time; also a bare number, as its unit is unknown */
  | 'bad_time'
  /** outside [2000, 2100) */
  | 'time_out_of_range'
  | 'missing_price'
  | 'bad_price'
  | 'bad_size'
  /** of a tick of the webhook, whose volume is exact and has to be there */
  | 'missing_volume'
  | 'bad_volume'
  /** of a tick of the webhook: it has no such field, or has one twice */
  | 'unknown_field'
  | 'repeated_field'
  /** bid or ask */
  | 'bad_number'
  /** NaN or an infinity, as a number or spelled out, or digits beyond a double */
  | 'not_finite'
  /** of letters of older versions: an unknown side is null now */
  | 'bad_side'
  /** not a whole number from 0 to 2^63 − 1 whose digits are all known */
  | 'bad_seq'
  /** no text and no whole number, or longer than 128 bytes */
  | 'bad_trade_id'
  | 'bad_interval'
  /** o, h, l, c or v is missing or not a number, or they contradict each other */
  | 'bad_bar'
  /** origin and replay_run_id: one is malformed, or they contradict each other */
  | 'bad_origin';

export interface Refusal {
  kind: 'refused';
  reason: RefusalReason;
  /** one line for operators: the field, its value (truncated, escaped), what is expected */
  detail: string;
}

export function refuse(reason: RefusalReason, detail: string): Refusal {
  return { kind: 'refused', reason, detail };
}

/** most characters shown of an untrusted value */
const SHOWN_CHARS_MAX = 40;

/** A value as one short line: it may be a megabyte long, or hold NUL or half a surrogate pair. */
export function shown(value: unknown): string {
  if (typeof value === 'string') {
    const cut = value.length > SHOWN_CHARS_MAX;
    return `${JSON.stringify(value.slice(0, SHOWN_CHARS_MAX))}${cut ? `… (${value.length} characters)` : ''}`;
  }
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'an array' : 'an object';
  return String(value);
}
