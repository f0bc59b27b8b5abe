import { encodeEvent } from '../market/codec/encode.ts';
import type { EventEncoding } from '../market/codec/decode.ts';
import { eventIdOf } from '../market/event-id.ts';
import type { MarketEvent } from '../market/event.ts';
import { EVENT_VERSION } from '../market/normalise.ts';
import { formatMicros } from '../time.ts';
import type { Series } from './position.ts';
import type { ReplayRows } from './rows.ts';

/** A row as the bus takes it. */
export interface EventRecord {
  provider: string;
  key: string;
  eventId: string;
  encoding: EventEncoding;
  data: Uint8Array;
}

interface Head {
  provider: string;
  symbol: string;
  /** `provider|symbol|` */
  id: string;
  /** the JSON up to the time */
  json: string;
  /** the JSON from event_id up to the time in it */
  jsonId: string;
  isAscii: boolean;
}

const MICROS_PER_SECOND = 1_000_000;
const SAFE_HIGH_MAX = 2 ** 21;
const TWO_32 = 2 ** 32;

/** Rows of a run as events of version 1: the same bytes as encodeEvent() of the events that they are. */
export class EventRecords {
  readonly #heads: readonly Head[];
  readonly #runId: bigint;
  readonly #tail: string;
  readonly #encoding: EventEncoding;
  readonly #interval: string;
  /** the second of the last row, and its text up to the point */
  #second = NaN;
  #secondText = '';

  /** @param interval of bars; unused where there are none */
  constructor(
    series: readonly Series[],
    { runId, encoding, interval }: { runId: bigint; encoding: EventEncoding; interval: string | null },
  ) {
    this.#runId = runId;
    this.#encoding = encoding;
    this.#interval = interval ?? '';
    this.#tail = `","origin":"replay","replay_run_id":${runId},"event_id":`;
    this.#heads = series.map(({ provider, symbol }) => ({
      provider,
      symbol,
      id: `${provider}|${symbol}|`,
      json: `{"ver":${EVENT_VERSION},"provider":${JSON.stringify(provider)},"symbol":${JSON.stringify(symbol)},"kind":"tick","src_ts":"`,
      jsonId: JSON.stringify(`${provider}|${symbol}|`).slice(0, -1),
      isAscii: !/[^\u0000-\u007f]/.test(symbol), // eslint-disable-line no-control-regex
    }));
  }

  of(rows: ReplayRows, row: number): EventRecord {
    const head = this.#heads[rows.series[row]];
    const time = this.#time(rows.tsUs(row));
    if (rows.isBar || this.#encoding === 'msgpack') return this.#encoded(rows, row, head, time);
    const seq = wholeText(rows.seqWords, row);
    const eventId = `${head.id}${time}|${seq}`;
    let json = `${head.json}${time}"`;
    json += `,"price":${rows.number(0, row)}`;
    const size = rows.number(1, row);
    if (size !== null) json += `,"size":${size}`;
    const bid = rows.number(2, row);
    if (bid !== null) json += `,"bid":${bid}`;
    const ask = rows.number(3, row);
    if (ask !== null) json += `,"ask":${ask}`;
    const side = rows.side(row);
    if (side !== 0) json += side === 1 ? ',"side":"buy"' : ',"side":"sell"';
    // beyond JSON's safe range as a string, as encodeEvent() has it
    json += rows.seqWords[2 * row + 1] < SAFE_HIGH_MAX ? `,"seq":${seq}` : `,"seq":"${seq}"`;
    json += `,"timestamp":"${time}${this.#tail}${head.jsonId}${time}|${seq}"}`;
    return {
      provider: head.provider,
      key: head.symbol,
      eventId,
      encoding: 'json',
      data: Buffer.from(json, head.isAscii ? 'latin1' : 'utf8'),
    };
  }

  #encoded(rows: ReplayRows, row: number, head: Head, time: string): EventRecord {
    const event = this.#event(rows, row, head, time);
    const { provider, symbol, eventId } = event;
    const data = encodeEvent(event, this.#encoding);
    return { provider, key: symbol, eventId, encoding: this.#encoding, data };
  }

  #event(rows: ReplayRows, row: number, { provider, symbol }: Head, time: string): MarketEvent {
    const seq = rows.seq[row];
    const base = {
      provider,
      symbol,
      srcTs: rows.ts[row],
      ingestTs: null,
      seq,
      origin: 'replay',
      replayRunId: this.#runId,
      eventId: eventIdOf(provider, symbol, time, seq, rows.isBar ? this.#interval : null),
    } as const;
    const [a, b, c, d] = rows.numbers.map((_, column) => rows.number(column, row));
    if (rows.isBar) {
      const prices = { open: a ?? 0, high: b ?? 0, low: c ?? 0, close: d ?? 0 };
      return { kind: 'bar', ...base, interval: this.#interval, ...prices, volume: rows.number(4, row) ?? 0 };
    }
    const side = rows.side(row);
    return {
      kind: 'tick',
      ...base,
      price: a ?? 0,
      size: b,
      bid: c,
      ask: d,
      side: side === 1 || side === -1 ? side : null,
    };
  }

  /** Neighbours mostly are of one second. */
  #time(us: number): string {
    const second = Math.floor(us / MICROS_PER_SECOND);
    if (second !== this.#second) {
      this.#second = second;
      this.#secondText = formatMicros(BigInt(second) * BigInt(MICROS_PER_SECOND)).slice(0, -'000000Z'.length);
    }
    const fraction = String(us - second * MICROS_PER_SECOND).padStart(6, '0');
    return `${this.#secondText}${fraction}Z`;
  }
}

/** A number of 0 … 2^63 − 1 in digits; without a BigInt where a double is exact. */
function wholeText(words: Int32Array, row: number): string {
  const high = words[2 * row + 1];
  const low = words[2 * row] >>> 0;
  if (high < SAFE_HIGH_MAX) return String(high * TWO_32 + low);
  return ((BigInt(high) << 32n) | BigInt(low)).toString();
}
