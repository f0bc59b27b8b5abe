import type { Micros } from '../time.ts';
import type { EventEncoding } from './codec/decode.ts';
import { exactDecimal, DECIMAL_DIGITS_MAX } from './codec/decimal.ts';
import { providerName, wholeNumber } from './codec/field.ts';
import {
  fieldPath,
  NumberText,
  readFlatJson,
  type FlatMistake,
  type FlatRecord,
  type FlatValue,
} from './codec/flat-json.ts';
import { eventIdOf } from './event-id.ts';
import { eventTime, isEventTime, parseEventTime, type EventTime } from './event-time.ts';
import type { TickEvent } from './event.ts';
import { NO_PROVIDERS, rulesOf, symbolOf, type Providers } from './identity/providers.ts';
import { contentNumber } from './identity/trade-number.ts';
import { refuse, shown, type Refusal, type RefusalReason } from './refusal.ts';

/** Where accepted ticks wait for the flusher. */
export const WEBHOOK_TOPIC = 'ticks.received';

/** Ticks of one request, at most. */
export const WEBHOOK_TICKS_MAX = 10_000;

/** A tick of the webhook: a row of md_ticks. */
export interface WebhookTick {
  /** 1-128 bytes, without a-z */
  symbol: string;
  /** µs, in [2000, 2100) */
  ts: Micros;
  /** plain digits, all that were sent: `-12.50` */
  price: string;
  /** the same, not below 0 */
  volume: string;
  /** 1-64 bytes of 0x21-0x7E without `|` */
  source: string;
  /** 0 … 2^63 − 1 */
  seq: bigint;
  /** source|symbol|ts|seq */
  eventId: string;
}

/** What is wrong with a tick, and where: `[3].price`, `price`; an empty path is the whole. */
export interface WebhookProblem {
  path: string;
  reason: RefusalReason;
  /** one line, without the path */
  message: string;
}

export type WebhookBody =
  { kind: 'ticks'; ticks: WebhookTick[] } | { kind: 'refused'; problems: WebhookProblem[] };

/** problems told at once */
const PROBLEMS_MAX = 10;
const FIELDS = new Set(['symbol', 'ts', 'price', 'volume', 'source', 'seq']);

/**
 * The ticks of a request: one object or a list, all of them or none. Never throws, whatever the text is.
 *
 * @param providers what is declared of sources, by their names
 */
export function parseWebhookBody(text: string, providers: Providers = NO_PROVIDERS): WebhookBody {
  const document = readFlatJson(text, WEBHOOK_TICKS_MAX);
  if (document.kind === 'mistake') return { kind: 'refused', problems: [problemOf(document)] };
  const ticks: WebhookTick[] = [];
  const problems: WebhookProblem[] = [];
  for (const [index, fields] of document.records.entries()) {
    const tick = tickOf(fields, document.isList ? `[${index}]` : '', providers);
    if ('eventId' in tick) ticks.push(tick);
    else if (problems.push(tick) >= PROBLEMS_MAX) break;
  }
  return problems.length > 0 ? { kind: 'refused', problems } : { kind: 'ticks', ticks };
}

/** Longer records on the bus are refused unread, bytes. */
const RECORD_BYTES_MAX = 64 * 1024;
const UTF8 = new TextDecoder('utf-8', { fatal: true });

/** A tick as its record on the bus: JSON, whose price and volume are texts, so that no reader rounds them. */
export function encodeWebhookTick({ symbol, ts, price, volume, source, seq }: WebhookTick): Uint8Array {
  const isSafe = seq <= BigInt(Number.MAX_SAFE_INTEGER);
  const record = {
    symbol,
    ts: eventTime(ts).text,
    price,
    volume,
    source,
    seq: isSafe ? Number(seq) : `${seq}`,
  };
  return Buffer.from(JSON.stringify(record));
}

/** The tick of a record on the bus, which other programs may have written; or why it is none. */
export function decodeWebhookTick(
  data: Uint8Array,
  encoding: EventEncoding,
  providers: Providers = NO_PROVIDERS,
): WebhookTick | Refusal {
  if (encoding !== 'json') return refuse('bad_json', `${encoding}; records of this topic are JSON`);
  if (data.length > RECORD_BYTES_MAX)
    return refuse('too_large', `${data.length} bytes; the limit is ${RECORD_BYTES_MAX}`);
  let text: string;
  try {
    text = UTF8.decode(data);
  } catch {
    return refuse('bad_utf8', `${data.length} bytes that are no UTF-8`);
  }
  const document = readFlatJson(text, 1);
  if (document.kind === 'mistake') return refusalOf(problemOf(document));
  if (document.isList) return refuse('not_an_object', 'JSON, but a list');
  const tick = tickOf(document.records[0], '', providers);
  return 'eventId' in tick ? tick : refusalOf(tick);
}

/** The tick as an event of mdp.events. @param takenAt when it was accepted, µs */
export function eventOfWebhookTick(tick: WebhookTick, takenAt: Micros): TickEvent {
  const { symbol, ts, price, volume, source, seq, eventId } = tick;
  return {
    kind: 'tick',
    provider: source,
    symbol,
    srcTs: ts,
    ingestTs: takenAt,
    seq,
    price: Number(price),
    size: Number(volume),
    bid: null,
    ask: null,
    side: null,
    origin: 'live',
    replayRunId: null,
    eventId,
  };
}

/** The first problem of a tick, in the order of its fields. */
function tickOf(fields: FlatRecord, path: string, providers: Providers): WebhookTick | WebhookProblem {
  const wrong = (field: string, { reason, detail }: Refusal): WebhookProblem => ({
    path: fieldPath(path, field),
    reason,
    message: detail,
  });
  for (const name of fields.keys()) {
    if (!FIELDS.has(name))
      return wrong(name, refuse('unknown_field', `unknown; known are ${[...FIELDS].join(', ')}`));
  }
  const source = providerName(textOf(fields.get('source')), 'source');
  if (typeof source !== 'string') return wrong('source', source);
  const rules = rulesOf(providers, source);
  const symbol = symbolOf(textOf(fields.get('symbol')), rules);
  if (typeof symbol !== 'string') return wrong('symbol', symbol);
  const ts = timeOf(fields.get('ts'));
  if ('kind' in ts) return wrong('ts', ts);
  const price = decimalOf(fields.get('price'), 'price', 'missing_price', 'bad_price');
  if (typeof price !== 'string') return wrong('price', price);
  const volume = volumeOf(fields.get('volume'));
  if (typeof volume !== 'string') return wrong('volume', volume);
  const seq = seqOf(fields.get('seq'));
  if (seq !== null && typeof seq !== 'bigint') return wrong('seq', seq);
  const known = seq ?? (rules.identity === 'content' ? numberOf(price, volume) : 0n);
  const eventId = eventIdOf(source, symbol, ts.text, known, null);
  return { symbol, ts: ts.micros, price, volume, source, seq: known, eventId };
}

/** As the consumers of mdp.events would number it. */
function numberOf(price: string, volume: string): bigint {
  return contentNumber({ price: Number(price), size: Number(volume), bid: null, ask: null, side: null });
}

/** Numbers as their digits: the checks of texts say that they are none. */
function textOf(value: FlatValue | undefined): unknown {
  return value instanceof NumberText ? Number(value.text) : value;
}

function timeOf(value: FlatValue | undefined): EventTime | Refusal {
  if (value == null) return refuse('missing_time', 'no ts');
  let time: EventTime;
  if (typeof value === 'string') {
    try {
      time = parseEventTime(value);
    } catch (error) {
      return refuse('bad_time', `${shown(value)}: ${(error as RangeError).message}`);
    }
  } else if (value instanceof NumberText && WHOLE.test(value.text)) {
    const micros = BigInt(value.text);
    if (!isEventTime(micros))
      return refuse(
        'time_out_of_range',
        `${value.text} µs since 1970 are not within [2000, 2100): a number is in microseconds`,
      );
    return eventTime(micros);
  } else {
    return refuse('bad_time', 'send ISO-8601, or whole microseconds since 1970');
  }
  if (isEventTime(time.micros)) return time;
  return refuse('time_out_of_range', `${time.text} is not within [2000, 2100)`);
}

const WHOLE = /^(?:0|[1-9]\d{0,18})$/;

function decimalOf(
  value: FlatValue | undefined,
  name: string,
  missing: RefusalReason,
  bad: RefusalReason,
): string | Refusal {
  if (value == null) return refuse(missing, `no ${name}`);
  if (typeof value === 'boolean') return refuse(bad, `${value} is no number`);
  const text = typeof value === 'string' ? value : value.text;
  const decimal = exactDecimal(text);
  if ('text' in decimal) return decimal.text;
  switch (decimal.mistake) {
    case 'not_a_number':
      return refuse(bad, `${shown(text)} is no number in digits such as 113 or "113.25"`);
    case 'not_finite':
      return refuse('not_finite', `${text} is no finite number`);
    case 'too_many_digits':
      return refuse(bad, `${shown(text)} has more than ${DECIMAL_DIGITS_MAX} digits`);
  }
}

function volumeOf(value: FlatValue | undefined): string | Refusal {
  const volume = decimalOf(value, 'volume', 'missing_volume', 'bad_volume');
  return typeof volume === 'string' && volume.startsWith('-')
    ? refuse('bad_volume', `${volume} is below 0`)
    : volume;
}

function seqOf(value: FlatValue | undefined): bigint | null | Refusal {
  if (value == null) return null;
  return wholeNumber(value instanceof NumberText ? value.text : value, 'seq', 'bad_seq');
}

function problemOf({ reason, path, detail }: FlatMistake): WebhookProblem {
  const reasons = { nested: 'bad_json', too_many: 'too_large' } as const;
  return {
    path,
    reason: reason === 'nested' || reason === 'too_many' ? reasons[reason] : reason,
    message: detail,
  };
}

function refusalOf({ path, reason, message }: WebhookProblem): Refusal {
  return refuse(reason, path === '' ? message : `${path}: ${message}`);
}
