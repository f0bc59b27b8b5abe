import type { MarketEvent } from '../event.ts';
import { readMsgpackMap } from './msgpack-read.ts';
import { normalise } from '../normalise.ts';
import { refuse, shown, type Refusal } from '../refusal.ts';

/** How a record's bytes are to be read; the bus says which (bus.encoding, field enc). */
export type EventEncoding = 'json' | 'msgpack';

export interface DecodeLimits {
  /** longer ones are refused unread */
  eventMaxBytes: number;
}

export const DECODE_LIMITS: DecodeLimits = { eventMaxBytes: 1024 * 1024 };

/** fatal: bytes that are no UTF-8 must not become U+FFFD silently */
const UTF8 = new TextDecoder('utf-8', { fatal: true });

/** An event from the bytes that a bus delivers, or why it is none. Never throws, whatever the bytes are. */
export function decodeEvent(
  data: Uint8Array,
  encoding: EventEncoding,
  limits: DecodeLimits = DECODE_LIMITS,
): MarketEvent | Refusal {
  if (data.length > limits.eventMaxBytes) {
    return refuse('too_large', `${data.length} bytes; the limit is ${limits.eventMaxBytes}`);
  }
  if (encoding === 'msgpack') {
    const raw = readMsgpackMap(data);
    return 'reason' in raw ? raw : normalise(raw.fields);
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
  return normalise(value);
}

const MESSAGE_CHARS_MAX = 160;

/** V8 quotes the text in its message: whatever somebody sent, NUL and newlines included. */
function oneLine(message: string): string {
  return JSON.stringify(message.slice(0, MESSAGE_CHARS_MAX)).slice(1, -1);
}
