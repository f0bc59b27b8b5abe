import { MsgpackTime } from './field.ts';
import type { RawEvent } from '../normalise.ts';
import { refuse, type Refusal } from '../refusal.ts';

/** The known event fields of a msgpack map; null where absent. */
export interface MsgpackFields {
  fields: RawEvent;
}

/** deeper than any event; bounds the recursion */
const DEPTH_MAX = 32;
const TIMESTAMP_EXT = -1;

/** placeholder for a value that no event field can have: a map, an array, bytes that are no text, an extension */
const OPAQUE: readonly unknown[] = [];
const UTF8 = new TextDecoder('utf-8', { fatal: true });

type Fields = { -readonly [Name in keyof RawEvent]-?: unknown };

/** All of one hidden class, whatever the order of the keys. */
function noFields(): Fields {
  return {
    ver: null,
    kind: null,
    provider: null,
    symbol: null,
    src_ts: null,
    timestamp: null,
    ts: null,
    ingest_ts: null,
    seq: null,
    trade_id: null,
    price: null,
    size: null,
    bid: null,
    ask: null,
    side: null,
    o: null,
    h: null,
    l: null,
    c: null,
    v: null,
    volume: null,
    interval: null,
    origin: null,
    replay_run_id: null,
  };
}

const KNOWN: ReadonlySet<string> = new Set(Object.keys(noFields()));

class Malformed extends Error {}

class NotUtf8 extends Error {}

/**
 * Reads one msgpack map and keeps the known event fields; everything else is skipped by its length. Of a duplicate key
 * the last value counts, as in JSON. 64-bit integers beyond 2^53 are bigint; timestamps are truncated to µs. Bytes that are
 * UTF-8 are text, as keys and as values: programs that do not keep text and bytes apart pack their texts like that.
 *
 * Our own rather than a package: core imports none (parser threads), and a general reader builds every value that a
 * hostile record claims to hold, and generates code for its "records" extension.
 */
export function readMsgpackMap(bytes: Uint8Array): MsgpackFields | Refusal {
  const reader = new Reader(bytes);
  try {
    const entries = reader.mapHeader();
    if (entries < 0) return refuse('not_an_object', 'msgpack, but no map');
    const fields = noFields();
    for (let entry = 0; entry < entries; entry += 1) {
      const key = reader.key();
      if (key === null) reader.skip(1);
      else fields[key] = reader.value();
    }
    if (reader.left > 0) return refuse('bad_msgpack', `${reader.left} bytes after the map`);
    return { fields };
  } catch (error) {
    if (error instanceof Malformed) return refuse('bad_msgpack', error.message);
    if (error instanceof NotUtf8) return refuse('bad_utf8', 'a string that is no UTF-8');
    throw error;
  }
}

class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  /** one character per byte: ASCII strings are sliced from it, which is cheaper than decoding each one */
  readonly #characters: string;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#characters = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  /** Number of entries; −1 when it is not a map. */
  mapHeader(): number {
    const type = this.#byte();
    if (type >= 0x80 && type <= 0x8f) return type & 0x0f;
    if (type === 0xde) return this.#uint(2);
    if (type === 0xdf) return this.#uint(4);
    return -1;
  }

  /** A known field name; null for any other key. */
  key(): keyof RawEvent | null {
    const key = this.value();
    return typeof key === 'string' && isKnown(key) ? key : null;
  }

  /** A scalar; OPAQUE for anything else, which is skipped. */
  value(): unknown {
    const type = this.#byte();
    if (type <= 0x7f) return type;
    if (type >= 0xe0) return type - 0x100;
    if (type >= 0xa0 && type <= 0xbf) return this.#text(type & 0x1f);
    switch (type) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
      case 0xc5:
      case 0xc6:
        return this.#bin(this.#uint(1 << (type - 0xc4)));
      case 0xca:
        return this.#view.getFloat32(this.#take(4));
      case 0xcb:
        return this.#view.getFloat64(this.#take(8));
      case 0xcc:
      case 0xcd:
      case 0xce:
        return this.#uint(1 << (type - 0xcc));
      case 0xcf:
        return narrowed(this.#view.getBigUint64(this.#take(8)));
      case 0xd0:
        return this.#view.getInt8(this.#take(1));
      case 0xd1:
        return this.#view.getInt16(this.#take(2));
      case 0xd2:
        return this.#view.getInt32(this.#take(4));
      case 0xd3:
        return narrowed(this.#view.getBigInt64(this.#take(8)));
      case 0xd9:
      case 0xda:
      case 0xdb:
        return this.#text(this.#uint(1 << (type - 0xd9)));
      case 0xd6:
      case 0xd7:
      case 0xc7:
        return this.#extension(type);
      default:
        this.#at -= 1;
        this.skip(1);
        return OPAQUE;
    }
  }

  /** Skips this many values. */
  skip(values: number, depth = 0): void {
    if (depth > DEPTH_MAX) throw new Malformed(`nested more than ${DEPTH_MAX} deep`);
    for (let value = 0; value < values; value += 1) {
      const type = this.#byte();
      if (type <= 0x7f || type >= 0xe0) continue;
      if (type <= 0x8f) this.skip(2 * (type & 0x0f), depth + 1);
      else if (type <= 0x9f) this.skip(type & 0x0f, depth + 1);
      else if (type <= 0xbf) this.#take(type & 0x1f);
      else if (type === 0xdc || type === 0xdd) this.skip(this.#uint(type === 0xdc ? 2 : 4), depth + 1);
      else if (type === 0xde || type === 0xdf) this.skip(2 * this.#uint(type === 0xde ? 2 : 4), depth + 1);
      else this.#take(this.#payloadLength(type));
    }
  }

  /** Payload length of a type from 0xc0 to 0xdb whose type byte has been read. */
  #payloadLength(type: number): number {
    if (type === 0xc1) throw new Malformed('the type 0xc1, which msgpack does not have');
    if (type <= 0xc3) return 0;
    if (type <= 0xc6) return this.#uint(1 << (type - 0xc4)); // bin 8, 16, 32
    if (type <= 0xc9) return this.#uint(1 << (type - 0xc7)) + 1; // ext 8, 16, 32: its type follows
    if (type <= 0xcb) return type === 0xca ? 4 : 8;
    if (type <= 0xcf) return 1 << (type - 0xcc);
    if (type <= 0xd3) return 1 << (type - 0xd0);
    if (type <= 0xd8) return (1 << (type - 0xd4)) + 1; // fixext 1 to 16
    return this.#uint(1 << (type - 0xd9)); // str 8, 16, 32
  }

  /** fixext 4, fixext 8 or ext 8: a timestamp of 32, 64 or 96 bits, or OPAQUE. */
  #extension(type: number): unknown {
    const length = type === 0xc7 ? this.#uint(1) : type === 0xd6 ? 4 : 8;
    const extType = this.#view.getInt8(this.#take(1));
    const at = this.#take(length);
    if (extType !== TIMESTAMP_EXT) return OPAQUE;
    if (length === 4) return timeOf(BigInt(this.#view.getUint32(at)), 0);
    if (length === 8) {
      const word = this.#view.getBigUint64(at);
      return timeOf(word & 0x3_ffff_ffffn, Number(word >> 34n));
    }
    return length === 12 ? timeOf(this.#view.getBigInt64(at + 4), this.#view.getUint32(at)) : OPAQUE;
  }

  /** Its text; OPAQUE when it is none. */
  #bin(length: number): unknown {
    const start = this.#take(length);
    try {
      return UTF8.decode(this.#bytes.subarray(start, start + length));
    } catch {
      return OPAQUE;
    }
  }

  #text(length: number): string {
    const start = this.#take(length);
    const end = start + length;
    for (let at = start; at < end; at += 1) if (this.#bytes[at] > 0x7f) return this.#utf8(start, end);
    return this.#characters.slice(start, end);
  }

  #utf8(start: number, end: number): string {
    try {
      return UTF8.decode(this.#bytes.subarray(start, end));
    } catch {
      throw new NotUtf8();
    }
  }

  #byte(): number {
    return this.#bytes[this.#take(1)];
  }

  #uint(bytes: number): number {
    const at = this.#take(bytes);
    if (bytes === 1) return this.#bytes[at];
    return bytes === 2 ? this.#view.getUint16(at) : this.#view.getUint32(at);
  }

  /** Moves past `length` bytes and returns where they begin. */
  #take(length: number): number {
    const at = this.#at;
    if (length > this.#bytes.length - at)
      throw new Malformed(`it ends at byte ${this.#bytes.length} too early`);
    this.#at = at + length;
    return at;
  }
}

function narrowed(whole: bigint): number | bigint {
  return whole <= BigInt(Number.MAX_SAFE_INTEGER) && whole >= BigInt(Number.MIN_SAFE_INTEGER)
    ? Number(whole)
    : whole;
}

function timeOf(seconds: bigint, nanos: number): unknown {
  return nanos <= 999_999_999
    ? new MsgpackTime(seconds * 1_000_000n + BigInt(Math.trunc(nanos / 1000)))
    : OPAQUE;
}

function isKnown(key: string): key is keyof RawEvent {
  return KNOWN.has(key);
}
