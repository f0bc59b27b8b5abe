import { eventIdOf } from './event-id.ts';
import { eventTime, isEventTime, parseEventTime, type EventTime } from './event-time.ts';
import type { BarEvent, EventNote, MarketEvent, Origin, TickEvent } from './event.ts';
import {
  amount,
  finiteNumber,
  MsgpackTime,
  optionalAmount,
  optionalNumber,
  providerName,
  wholeNumber,
} from './codec/field.ts';
import { isRounded } from './codec/precision.ts';
import { NO_PROVIDERS, rulesOf, symbolOf, type Providers, type ProviderRules } from './identity/providers.ts';
import { contentNumber, tradeNumber } from './identity/trade-number.ts';
import { intervalName, parseInterval } from './interval.ts';
import { refuse, shown, type Refusal } from './refusal.ts';
import { sideOf } from './side.ts';

/**
 * An event as sent, in any of its spellings. null means absent; unknown fields are ignored. None of these names exists on
 * Object.prototype, so reading them sees only own properties.
 */
export interface RawEvent {
  readonly ver?: unknown;
  readonly kind?: unknown;
  readonly provider?: unknown;
  readonly symbol?: unknown;
  /** the time: the first of these three that is present */
  readonly src_ts?: unknown;
  readonly timestamp?: unknown;
  readonly ts?: unknown;
  readonly ingest_ts?: unknown;
  /** the identity: seq, else trade_id */
  readonly seq?: unknown;
  readonly trade_id?: unknown;
  /** for a tick: price, else c */
  readonly price?: unknown;
  /** for a tick: size, else v, else volume */
  readonly size?: unknown;
  readonly bid?: unknown;
  readonly ask?: unknown;
  readonly side?: unknown;
  readonly o?: unknown;
  readonly h?: unknown;
  readonly l?: unknown;
  readonly c?: unknown;
  readonly v?: unknown;
  readonly volume?: unknown;
  readonly interval?: unknown;
  readonly origin?: unknown;
  readonly replay_run_id?: unknown;
}

/** The only version so far. */
export const EVENT_VERSION = 1;

/** The validated fields common to ticks and bars. */
interface Head {
  provider: string;
  symbol: string;
  srcTs: EventTime;
  ingestTs: bigint | null;
  /** null: neither seq nor trade_id */
  seq: bigint | null;
  origin: Origin;
  replayRunId: bigint | null;
  rules: ProviderRules;
}

/**
 * Maps every spelling of an event to one meaning. `kind` decides: a tick has one price and one size, and its o, h and l
 * are ignored; a bar needs o, h, l, c, v (or volume) and interval. Without `kind` it is a tick if it has a `price`.
 */
export function normalise(raw: RawEvent, providers: Providers = NO_PROVIDERS): MarketEvent | Refusal {
  if (raw.ver != null && raw.ver !== EVENT_VERSION) {
    return refuse('unknown_version', `ver is ${shown(raw.ver)}; known is ${EVENT_VERSION}`);
  }
  const kind = raw.kind ?? (raw.price == null ? undefined : 'tick');
  if (kind === 'tick') return tick(raw, providers);
  if (kind === 'bar') return bar(raw, providers);
  return kind === undefined
    ? refuse('unknown_kind', 'neither kind nor price: it may be a tick or a bar')
    : refuse('unknown_kind', `kind is ${shown(kind)}; known are tick and bar`);
}

function tick(raw: RawEvent, providers: Providers): TickEvent | Refusal {
  const head = readHead(raw, providers);
  if ('kind' in head) return head;
  const given = raw.price ?? raw.c;
  if (given == null) return refuse('missing_price', 'neither price nor c');
  const price = finiteNumber(given, 'price', 'bad_price');
  if (typeof price !== 'number') return price;
  const givenSize = raw.size ?? raw.v ?? raw.volume;
  const size = optionalAmount(givenSize, 'size');
  if (isRefusal(size)) return size;
  const bid = optionalNumber(raw.bid, 'bid');
  if (isRefusal(bid)) return bid;
  const ask = optionalNumber(raw.ask, 'ask');
  if (isRefusal(ask)) return ask;
  const side = raw.side == null ? null : sideOf(raw.side);
  const { provider, symbol, srcTs, ingestTs, origin, replayRunId, rules } = head;
  const isUnnumbered = head.seq === null && rules.identity === 'given';
  const seq = head.seq ?? (isUnnumbered ? 0n : contentNumber({ price, size, bid, ask, side }));
  const event: TickEvent = {
    kind: 'tick',
    provider,
    symbol,
    srcTs: srcTs.micros,
    ingestTs,
    seq,
    price,
    size,
    bid,
    ask,
    side,
    origin,
    replayRunId,
    eventId: eventIdOf(provider, symbol, srcTs.text, seq, null),
  };
  const isCut =
    isRounded(given, price) ||
    (size !== null && isRounded(givenSize, size)) ||
    (bid !== null && isRounded(raw.bid, bid)) ||
    (ask !== null && isRounded(raw.ask, ask));
  return noted(event, isUnnumbered, isCut, side === null && raw.side != null);
}

function bar(raw: RawEvent, providers: Providers): BarEvent | Refusal {
  const head = readHead(raw, providers);
  if ('kind' in head) return head;
  const ms = typeof raw.interval === 'string' ? parseInterval(raw.interval) : null;
  if (ms === null) {
    const what = raw.interval == null ? 'no interval' : `interval is ${shown(raw.interval)}`;
    return refuse('bad_interval', `${what}; a bar needs one such as 500ms, 1s, 5m, 1h or 1d`);
  }
  const open = required(raw.o, 'o');
  if (typeof open !== 'number') return open;
  const high = required(raw.h, 'h');
  if (typeof high !== 'number') return high;
  const low = required(raw.l, 'l');
  if (typeof low !== 'number') return low;
  const close = required(raw.c, 'c');
  if (typeof close !== 'number') return close;
  const given = raw.v ?? raw.volume;
  const volume = given == null ? refuse('bad_bar', 'no v') : amount(given, 'v', 'bad_bar');
  if (typeof volume !== 'number') return volume;
  if (high < Math.max(open, low, close) || low > Math.min(open, close)) {
    return refuse('bad_bar', `h ${high} and l ${low} do not enclose o ${open} and c ${close}`);
  }
  const { provider, symbol, srcTs, ingestTs, origin, replayRunId } = head;
  const interval = intervalName(ms);
  // a window has one bar: another content of it is a conflict, whatever is declared of the provider
  const seq = head.seq ?? 0n;
  const event: BarEvent = {
    kind: 'bar',
    provider,
    symbol,
    srcTs: srcTs.micros,
    ingestTs,
    seq,
    interval,
    open,
    high,
    low,
    close,
    volume,
    origin,
    replayRunId,
    eventId: eventIdOf(provider, symbol, srcTs.text, seq, interval),
  };
  const isCut =
    isRounded(raw.o, open) ||
    isRounded(raw.h, high) ||
    isRounded(raw.l, low) ||
    isRounded(raw.c, close) ||
    isRounded(given, volume);
  return noted(event, false, isCut, false);
}

/** A property that most events lack: those with it are of a second hidden class. */
function noted<E extends MarketEvent>(
  event: E,
  isUnnumbered: boolean,
  isCut: boolean,
  isSideUnknown: boolean,
): E {
  if (!isUnnumbered && !isCut && !isSideUnknown) return event;
  const notes: EventNote[] = [];
  if (isUnnumbered) notes.push('unnumbered');
  if (isCut) notes.push('rounded');
  if (isSideUnknown) notes.push('unknown_side');
  event.notes = notes;
  return event;
}

function required(value: unknown, field: string): number | Refusal {
  return value == null
    ? refuse('bad_bar', `no ${field}; a bar needs o, h, l, c and v`)
    : finiteNumber(value, field, 'bad_bar');
}

function readHead(raw: RawEvent, providers: Providers): Head | Refusal {
  const provider = providerName(raw.provider);
  if (typeof provider !== 'string') return provider;
  const rules = rulesOf(providers, provider);
  const symbol = symbolOf(raw.symbol, rules);
  if (typeof symbol !== 'string') return symbol;
  const given = raw.src_ts ?? raw.timestamp ?? raw.ts;
  if (given == null) return refuse('missing_time', 'none of src_ts, timestamp and ts');
  const srcTs = timeOf(given, 'src_ts');
  if ('kind' in srcTs) return srcTs;
  const ingestTs = raw.ingest_ts == null ? null : timeOf(raw.ingest_ts, 'ingest_ts');
  if (ingestTs !== null && 'kind' in ingestTs) return ingestTs;
  const seq = raw.seq == null ? tradeSeq(raw.trade_id) : wholeNumber(raw.seq, 'seq', 'bad_seq');
  if (isRefusal(seq)) return seq;
  const replayRunId =
    raw.replay_run_id == null ? 0n : wholeNumber(raw.replay_run_id, 'replay_run_id', 'bad_origin');
  if (typeof replayRunId !== 'bigint') return replayRunId;
  const origin = originOf(raw.origin, replayRunId);
  if (typeof origin !== 'string') return origin;
  return {
    provider,
    symbol,
    srcTs,
    ingestTs: ingestTs?.micros ?? null,
    seq,
    origin,
    replayRunId: origin === 'replay' ? replayRunId : null,
    rules,
  };
}

function tradeSeq(tradeId: unknown): bigint | null | Refusal {
  return tradeId == null ? null : tradeNumber(tradeId);
}

/** A run id alone implies replay; 0 means no run. Every role would take a replay without a run id for live. */
function originOf(value: unknown, replayRunId: bigint): Origin | Refusal {
  const origin = value ?? (replayRunId > 0n ? 'replay' : 'live');
  if (origin === 'live' && replayRunId === 0n) return origin;
  if (origin === 'replay' && replayRunId > 0n) return origin;
  return refuse('bad_origin', `origin is ${shown(origin)} and replay_run_id is ${replayRunId}`);
}

function timeOf(value: unknown, field: string): EventTime | Refusal {
  let time: EventTime;
  if (typeof value === 'string') {
    try {
      time = parseEventTime(value);
    } catch (error) {
      return refuse('bad_time', `${field} ${shown(value)}: ${(error as RangeError).message}`);
    }
  } else if (value instanceof MsgpackTime) {
    time = eventTime(value.micros);
  } else {
    const number = typeof value === 'number' || typeof value === 'bigint';
    const why = number ? 'seconds, ms, µs or ns? Send ISO-8601' : 'send ISO-8601';
    return refuse('bad_time', `${field} is ${shown(value)}: ${why}`);
  }
  if (isEventTime(time.micros)) return time;
  return refuse('time_out_of_range', `${field} ${time.text} is not within [2000, 2100)`);
}

function isRefusal(value: unknown): value is Refusal {
  return typeof value === 'object' && value !== null;
}
