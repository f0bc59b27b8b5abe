import fc from 'fast-check';
import { encode } from '@msgpack/msgpack';
import { test } from 'tap';
import { decodeEvent } from '../../../../../src/core/market/codec/decode.ts';
import type { BarEvent, MarketEvent, TickEvent } from '../../../../../src/core/market/event.ts';
import { parseIsoMicros } from '../../../../../src/core/time.ts';
import { GOOD, MALFORMED } from '../malformed.ts';

const json = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));
const good = (data: Uint8Array | object): MarketEvent => {
  const event = decodeEvent(data instanceof Uint8Array ? data : json(data), 'json');
  if (event.kind === 'refused') throw new Error(`${event.reason}: ${event.detail}`);
  return event;
};
const tick = (change: object): TickEvent => good({ ...GOOD, ...change }) as TickEvent;
const reason = (data: Uint8Array, encoding: 'json' | 'msgpack' = 'json'): string => {
  const event = decodeEvent(data, encoding);
  return event.kind === 'refused' ? event.reason : 'accepted';
};

void test('the event of the contract', (t) => {
  t.strictSame(good(GOOD), {
    kind: 'tick',
    provider: 'ibkr_primary',
    symbol: 'SPY',
    srcTs: parseIsoMicros('2025-10-24T14:02:01.234567Z'),
    ingestTs: parseIsoMicros('2025-10-24T14:02:01.3Z'),
    seq: 183n,
    price: 425.15,
    size: 1200,
    bid: null,
    ask: null,
    side: null,
    origin: 'live',
    replayRunId: null,
    eventId: 'ibkr_primary|SPY|2025-10-24T14:02:01.234567Z|183',
  });
  t.end();
});

void test('the replay message', (t) => {
  const message = {
    kind: 'tick',
    provider: 'ibkr',
    symbol: 'NVDA',
    price: 123.45,
    timestamp: '2025-11-03T14:30:01Z',
    size: 100,
    bid: 123.4,
    ask: 123.5,
    origin: 'replay',
    replay_run_id: 42,
  };
  const event = good(message) as TickEvent;
  t.match(event, { price: 123.45, size: 100, bid: 123.4, ask: 123.5, origin: 'replay', replayRunId: 42n });
  t.equal(event.eventId, 'ibkr|NVDA|2025-11-03T14:30:01.000000Z|0');
  t.equal((good({ ...message, origin: undefined }) as TickEvent).origin, 'replay', 'a run id says it alone');
  t.end();
});

void test('every spelling of a tick', (t) => {
  const bare = { provider: 'p', symbol: 's' };
  const at = '2025-10-24T14:02:01.000000Z';
  for (const time of [
    { src_ts: at },
    { timestamp: at },
    { ts: at },
    { src_ts: null, timestamp: null, ts: at },
  ]) {
    t.equal(good({ ...bare, price: 1, ...time }).eventId, `p|S|${at}|0`);
  }
  t.equal(good({ ...bare, price: 1, src_ts: at, timestamp: 'x', ts: 5 }).kind, 'tick', 'the first one holds');
  t.match(tick({ price: 7, c: 425 }), { price: 7 });
  t.match(tick({ price: null, c: '425.25' }), { price: 425.25 });
  t.match(tick({ size: 1, v: 2, volume: 3 }), { size: 1 });
  t.match(tick({ v: '2.5', volume: 3 }), { size: 2.5 });
  t.match(tick({ v: undefined, volume: 3 }), { size: 3 });
  t.match(tick({ v: undefined }), { size: null });
  t.match(tick({ side: 'Buy' }), { side: 1 });
  t.match(tick({ side: 'sell' }), { side: -1 });
  t.match(
    tick({ o: 'x', h: 'y', l: [], interval: 7 }),
    { price: 425.15 },
    'o, h, l and interval of a tick are ignored',
  );
  t.match(tick({ ver: undefined }), { kind: 'tick' });
  t.match(tick({ symbol: 'brk.b~!' }), { symbol: 'BRK.B~!' });
  t.match(tick({ seq: '9223372036854775807' }), { seq: 2n ** 63n - 1n });
  t.equal(tick({ seq: undefined }).eventId, 'ibkr_primary|SPY|2025-10-24T14:02:01.234567Z|0');
  t.equal(tick({ event_id: 'somebody else’s' }).eventId, GOOD.event_id, 'an id is derived, never believed');
  t.ok(Object.is(tick({ price: -0 }).price, 0), 'minus zero is zero');
  t.match(tick({ price: -37.63 }), { price: -37.63 }, 'prices below zero have been seen');
  t.end();
});

void test('times with zones, fewer digits and more', (t) => {
  for (const [text, expected] of [
    ['2025-10-24T16:02:01.5+02:00', '2025-10-24T14:02:01.500000Z'],
    ['2025-10-24 14:02:01', '2025-10-24T14:02:01.000000Z'],
    ['2025-10-24T14:02:01.123456789Z', '2025-10-24T14:02:01.123456Z'],
    ['2024-02-29T23:59:59.999999Z', '2024-02-29T23:59:59.999999Z'],
    ['2000-01-01T00:00:00.000000Z', '2000-01-01T00:00:00.000000Z'],
    ['2099-12-31T23:59:59.999999Z', '2099-12-31T23:59:59.999999Z'],
  ]) {
    const event = tick({ src_ts: text });
    t.equal(event.eventId.split('|')[2], expected);
    t.equal(event.srcTs, parseIsoMicros(expected));
  }
  t.end();
});

void test('a bar', (t) => {
  const bar = good({ ...GOOD, kind: 'bar', interval: '60s' }) as BarEvent;
  t.match(bar, {
    kind: 'bar',
    interval: '1m',
    open: 425.1,
    high: 425.2,
    low: 425,
    close: 425.15,
    volume: 1200,
  });
  t.equal(bar.eventId, `${GOOD.event_id}|1m`);
  t.match(good({ ...GOOD, kind: 'bar', v: undefined, volume: 5, price: 9 }), { volume: 5, close: 425.15 });
  t.end();
});

void test('of two keys alike the last one holds, and unknown keys are ignored', (t) => {
  const text = JSON.stringify(GOOD).replace(
    '{',
    '{"symbol":"AAPL","__proto__":{"price":1},"constructor":null,"x":[{}],',
  );
  t.match(good(Buffer.from(text)), { symbol: 'SPY', price: 425.15 });
  t.equal(({} as Record<string, unknown>)['price'], undefined, 'nothing has a new prototype');
  t.end();
});

void test('every malformed event is refused with its reason', (t) => {
  for (const [name, data, expected] of MALFORMED) {
    const bytes = typeof data === 'string' ? Buffer.from(data) : data;
    const event = decodeEvent(bytes, 'json');
    t.match(event, { kind: 'refused', reason: expected }, name);
    if (event.kind !== 'refused') continue;
    t.ok(event.detail.length > 0 && event.detail.length < 300, `${name}: ${event.detail}`);
    // oxlint-disable-next-line no-control-regex -- what operators and a text column must not get
    t.notMatch(event.detail, /[\u0000-\u001f\ud800-\udfff]/, name);
  }
  t.ok(MALFORMED.length >= 50);
  t.end();
});

void test('the same malformed events in msgpack', (t) => {
  let compared = 0;
  for (const [name, data, expected] of MALFORMED) {
    let value: unknown;
    try {
      value = JSON.parse(typeof data === 'string' ? data : Buffer.from(data).toString());
    } catch {
      continue;
    }
    if (typeof value === 'object' && name.includes('__proto__')) continue; // the encoder writes no such key
    if (name.includes('surrogate')) continue; // nor half a pair
    if (typeof data !== 'string') continue;
    const packed = encode(name.startsWith('deep') ? [] : value);
    t.equal(reason(packed, 'msgpack'), expected, name);
    compared += 1;
  }
  t.ok(compared > 60);
  t.end();
});

void test('bytes that are no event never throw', (t) => {
  const text = JSON.stringify(GOOD);
  const packed = encode(GOOD);
  for (let cut = 0; cut < packed.length; cut += 1) {
    t.equal(reason(packed.subarray(0, cut), 'msgpack'), 'bad_msgpack');
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      decodeEvent(bytes, 'json');
      decodeEvent(bytes, 'msgpack');
    }),
    { numRuns: 3000 },
  );
  fc.assert(
    fc.property(
      fc.nat(),
      fc.nat(255),
      fc.constantFrom<'json' | 'msgpack'>('json', 'msgpack'),
      (at, byte, encoding) => {
        const bytes = Buffer.from(encoding === 'json' ? text : packed);
        bytes[at % bytes.length] = byte;
        decodeEvent(bytes, encoding);
      },
    ),
    { numRuns: 5000 },
  );
  t.end();
});
