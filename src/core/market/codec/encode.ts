import type { EventEncoding } from './decode.ts';
import type { MarketEvent } from '../event.ts';
import { SYMBOL_BYTES_MAX } from '../identity/symbol.ts';
import { PROVIDER_BYTES_MAX } from './field.ts';
import { MsgpackMap } from './msgpack-write.ts';
import { EVENT_VERSION } from '../normalise.ts';
import { formatMicros } from '../../time.ts';

/**
 * An event as version 1 on the bus: the names of the contract, absent fields left out, times as ISO-8601 with six
 * decimals and Z in both encodings, and seq and replay_run_id as decimal strings beyond JSON's safe range (2^53 − 1).
 * A replayed tick also carries its time as `timestamp`, as the replay contract requires.
 * decodeEvent restores the same event.
 */
export function encodeEvent(event: MarketEvent, encoding: EventEncoding): Uint8Array {
  // everything but a symbol is ASCII, which is written faster as such
  if (encoding === 'json') return Buffer.from(eventJson(event), isAscii(event.symbol) ? 'latin1' : 'utf8');
  return eventMsgpack(event);
}

/** The JSON text. */
export function eventJson(event: MarketEvent): string {
  const srcTs = srcTsText(event);
  let json =
    `{"ver":${EVENT_VERSION},"provider":${quoted(event.provider)},"symbol":${quoted(event.symbol)},` +
    `"kind":"${event.kind}","src_ts":"${srcTs}"`;
  if (event.ingestTs !== null) json += `,"ingest_ts":"${formatMicros(event.ingestTs)}"`;
  if (event.kind === 'tick') {
    json += `,"price":${event.price}`;
    if (event.size !== null) json += `,"size":${event.size}`;
    if (event.bid !== null) json += `,"bid":${event.bid}`;
    if (event.ask !== null) json += `,"ask":${event.ask}`;
    if (event.side !== null) json += event.side === 1 ? ',"side":"buy"' : ',"side":"sell"';
  } else {
    const { interval, open, high, low, close, volume } = event;
    json += `,"interval":"${interval}","o":${open},"h":${high},"l":${low},"c":${close},"v":${volume}`;
  }
  json += `,"seq":${wholeJson(event.seq)}`;
  if (event.replayRunId !== null) {
    if (event.kind === 'tick') json += `,"timestamp":"${srcTs}"`;
    json += `,"origin":"replay","replay_run_id":${wholeJson(event.replayRunId)}`;
  }
  return `${json},"event_id":${quoted(event.eventId)}}`;
}

function eventMsgpack(event: MarketEvent): Uint8Array {
  const map = new MsgpackMap(EVENT_MAX_BYTES);
  const srcTs = srcTsText(event);
  const isPlain = isAscii(event.symbol);
  map.whole('ver', BigInt(EVENT_VERSION));
  map.text('provider', event.provider);
  map.text('symbol', event.symbol, isPlain);
  map.text('kind', event.kind);
  map.text('src_ts', srcTs);
  if (event.ingestTs !== null) map.text('ingest_ts', formatMicros(event.ingestTs));
  if (event.kind === 'tick') {
    map.double('price', event.price);
    if (event.size !== null) map.double('size', event.size);
    if (event.bid !== null) map.double('bid', event.bid);
    if (event.ask !== null) map.double('ask', event.ask);
    if (event.side !== null) map.text('side', event.side === 1 ? 'buy' : 'sell');
  } else {
    map.text('interval', event.interval);
    map.double('o', event.open);
    map.double('h', event.high);
    map.double('l', event.low);
    map.double('c', event.close);
    map.double('v', event.volume);
  }
  map.whole('seq', event.seq);
  if (event.replayRunId !== null) {
    if (event.kind === 'tick') map.text('timestamp', srcTs);
    map.text('origin', 'replay');
    map.whole('replay_run_id', event.replayRunId);
  }
  map.text('event_id', event.eventId, isPlain);
  return map.bytes();
}

/** upper limit for a msgpack event: 20 names and numbers, plus provider and symbol twice each */
const EVENT_MAX_BYTES = 640 + 2 * (PROVIDER_BYTES_MAX + SYMBOL_BYTES_MAX);
const TIME_LENGTH = '2025-10-24T14:02:01.234567Z'.length;

/** Sliced from the event id, where it is already formatted. */
function srcTsText({ eventId, provider, symbol }: MarketEvent): string {
  const start = provider.length + symbol.length + 2;
  return eventId.slice(start, start + TIME_LENGTH);
}

function isAscii(text: string): boolean {
  for (let at = 0; at < text.length; at += 1) if (text.charCodeAt(at) > 0x7f) return false;
  return true;
}

const NEEDS_ESCAPE = /["\\]/;

function quoted(text: string): string {
  return NEEDS_ESCAPE.test(text) ? JSON.stringify(text) : `"${text}"`;
}

const SAFE_MAX = BigInt(Number.MAX_SAFE_INTEGER);

function wholeJson(whole: bigint): string {
  return whole <= SAFE_MAX ? `${whole}` : `"${whole}"`;
}
