import type { MarketEvent } from '../event.ts';
import { NO_PROVIDERS, type Providers } from '../identity/providers.ts';
import { readMsgpackMap } from './msgpack-read.ts';
import { normalise } from '../normalise.ts';
import { parseExactly } from './precision.ts';
import { refuse, shown, type Refusal } from '../refusal.ts';

/** The encoding of a record's bytes, as stated by the bus (bus.encoding, field enc). */
export type EventEncoding = 'json' | 'msgpack';

export interface DecodeLimits {
  /** longer records are refused unread */
  eventMaxBytes: number;
}

export const DECODE_LIMITS: DecodeLimits = { eventMaxBytes: 1024 * 1024 };

/** fatal: invalid UTF-8 must not silently become U+FFFD */
const UTF8 = new TextDecoder('utf-8', { fatal: true });

/** Decodes the bytes a bus delivers: an event, or why it is refused. Never throws, whatever the bytes are. */
export function decodeEvent(
  data: Uint8Array,
  encoding: EventEncoding,
  providers: Providers = NO_PROVIDERS,
  limits: DecodeLimits = DECODE_LIMITS,
): MarketEvent | Refusal {
  if (data.length > limits.eventMaxBytes) {
    return refuse('too_large', `${data.length} bytes; the limit is ${limits.eventMaxBytes}`);
  }
  if (encoding === 'msgpack') {
    const raw = readMsgpackMap(data);
    return 'reason' in raw ? raw : normalise(raw.fields, providers);
  }
  let text: string;
  try {
    text = UTF8.decode(data);
  } catch {
    return refuse('bad_utf8', `${data.length} bytes that are no UTF-8`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return refuse('bad_json', oneLine((error as Error).message));
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return refuse('not_an_object', `JSON, but ${shown(value)}`);
  }
  const event = normalise(value, providers);
  return needsDigits(event) ? normalise(parseExactly(text) as object, providers) : event;
}

/** Whether JSON.parse may have rounded an integer that counts, so that the text has to be read again. */
function needsDigits(event: MarketEvent | Refusal): boolean {
  switch (event.kind) {
    case 'refused':
      return event.reason === 'bad_seq' || event.reason === 'bad_trade_id' || event.reason === 'bad_origin';
    case 'tick':
      return isLarge(event.price) || isLarge(event.size) || isLarge(event.bid) || isLarge(event.ask);
    case 'bar':
      return isLarge(event.high) || isLarge(event.low) || isLarge(event.volume);
  }
}

function isLarge(value: number | null): boolean {
  return value !== null && (value > Number.MAX_SAFE_INTEGER || value < Number.MIN_SAFE_INTEGER);
}

const MESSAGE_CHARS_MAX = 160;

/** V8 quotes the input in its message: untrusted text that may hold NUL and newlines. */
function oneLine(message: string): string {
  return JSON.stringify(message.slice(0, MESSAGE_CHARS_MAX)).slice(1, -1);
}
