import { eventIdOf } from './event-id.ts';
import { eventTime, isEventTime, parseEventTime, type EventTime } from './event-time.ts';
import type { BarEvent, MarketEvent, Origin, Side, TickEvent } from './event.ts';
import {
  amount,
  finiteNumber,
  MsgpackTime,
  name,
  optionalAmount,
  optionalNumber,
  upperCased,
  wholeNumber,
} from './codec/field.ts';
import { intervalName, parseInterval } from './interval.ts';
import { refuse, shown, type Refusal } from './refusal.ts';

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
  readonly seq?: unknown;
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
  seq: bigint;
  origin: Origin;
  replayRunId: bigint | null;
}

/**
 * Maps every spelling of an event to one meaning. `kind` decides: a tick has one price and one size, and its o, h and l
 * are ignored; a bar needs o, h, l, c, v (or volume) and interval. Without `kind` it is a tick if it has a `price`.
 */
export function normalise(raw: RawEvent): MarketEvent | Refusal {
  if (raw.ver != null && raw.ver !== EVENT_VERSION) {
    return refuse('unknown_version', `ver is ${shown(raw.ver)}; known is ${EVENT_VERSION}`);
  }
  const kind = raw.kind ?? (raw.price == null ? undefined : 'tick');
  if (kind === 'tick') return tick(raw);
  if (kind === 'bar') return bar(raw);
  return kind === undefined
    ? refuse('unknown_kind', 'neither kind nor price: it may be a tick or a bar')
    : refuse('unknown_kind', `kind is ${shown(kind)}; known are tick and bar`);
}

function tick(raw: RawEvent): TickEvent | Refusal {
  const head = readHead(raw);
  if ('kind' in head) return head;
  const given = raw.price ?? raw.c;
  if (given == null) return refuse('missing_price', 'neither price nor c');
  const price = finiteNumber(given, 'price', 'bad_price');
  if (typeof price !== 'number') return price;
  const size = optionalAmount(raw.size ?? raw.v ?? raw.volume, 'size');
  if (isRefusal(size)) return size;
  const bid = optionalNumber(raw.bid, 'bid');
  if (isRefusal(bid)) return bid;
  const ask = optionalNumber(raw.ask, 'ask');
  if (isRefusal(ask)) return ask;
  const side = raw.side == null ? null : sideOf(raw.side);
  if (isRefusal(side)) return side;
  const { provider, symbol, srcTs, ingestTs, seq, origin, replayRunId } = head;
  return {
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
}

function bar(raw: RawEvent): BarEvent | Refusal {
  const head = readHead(raw);
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
  const { provider, symbol, srcTs, ingestTs, seq, origin, replayRunId } = head;
  const interval = intervalName(ms);
  return {
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
}

function required(value: unknown, field: string): number | Refusal {
  return value == null
    ? refuse('bad_bar', `no ${field}; a bar needs o, h, l, c and v`)
    : finiteNumber(value, field, 'bad_bar');
}

function readHead(raw: RawEvent): Head | Refusal {
  const provider = name(raw.provider, 'provider', 'missing_provider', 'bad_provider');
  if (typeof provider !== 'string') return provider;
  const symbol = name(raw.symbol, 'symbol', 'missing_symbol', 'bad_symbol');
  if (typeof symbol !== 'string') return symbol;
  const given = raw.src_ts ?? raw.timestamp ?? raw.ts;
  if (given == null) return refuse('missing_time', 'none of src_ts, timestamp and ts');
  const srcTs = timeOf(given, 'src_ts');
  if ('kind' in srcTs) return srcTs;
  const ingestTs = raw.ingest_ts == null ? null : timeOf(raw.ingest_ts, 'ingest_ts');
  if (ingestTs !== null && 'kind' in ingestTs) return ingestTs;
  const seq = raw.seq == null ? 0n : wholeNumber(raw.seq, 'seq', 'bad_seq');
  if (typeof seq !== 'bigint') return seq;
  const replayRunId =
    raw.replay_run_id == null ? 0n : wholeNumber(raw.replay_run_id, 'replay_run_id', 'bad_origin');
  if (typeof replayRunId !== 'bigint') return replayRunId;
  const origin = originOf(raw.origin, replayRunId);
  if (typeof origin !== 'string') return origin;
  return {
    provider,
    symbol: upperCased(symbol),
    srcTs,
    ingestTs: ingestTs?.micros ?? null,
    seq,
    origin,
    replayRunId: origin === 'replay' ? replayRunId : null,
  };
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

function sideOf(value: unknown): Side | Refusal {
  const word = typeof value === 'string' && value.length <= 4 ? value.toLowerCase() : '';
  if (word === 'buy') return 1;
  if (word === 'sell') return -1;
  return refuse('bad_side', `side is ${shown(value)}; known are buy and sell`);
}

function isRefusal(value: unknown): value is Refusal {
  return typeof value === 'object' && value !== null;
}
