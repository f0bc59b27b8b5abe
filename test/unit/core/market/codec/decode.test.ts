import assert from 'node:assert/strict';
import fc from 'fast-check';
import { encode } from '@msgpack/msgpack';
import { test } from 'tap';
import { decodeEvent } from '../../../../../src/core/market/codec/decode.ts';
import type { BarEvent, MarketEvent, TickEvent } from '../../../../../src/core/market/event.ts';
import { providersOf, type Providers } from '../../../../../src/core/market/identity/providers.ts';
import { contentNumber } from '../../../../../src/core/market/identity/trade-number.ts';
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

/** The event in both encodings: numbers of more than 53 bits as the digits of JSON, and as 64-bit integers of msgpack. */
function inBoth(change: Record<string, unknown>, providers?: Providers): TickEvent {
  const fields = { ...GOOD, ...change };
  const text = JSON.stringify(fields, (_key, value: unknown) =>
    typeof value === 'bigint' ? { digits: `${value}` } : value,
  ).replace(/\{"digits":"(-?\d+)"\}/g, '$1');
  const fromJson = decodeEvent(Buffer.from(text), 'json', providers);
  const fromMsgpack = decodeEvent(encode(fields, { useBigInt64: true }), 'msgpack', providers);
  assert.deepStrictEqual(fromMsgpack, fromJson);
  if (fromJson.kind !== 'tick') throw new Error(JSON.stringify(fromJson));
  return fromJson;
}

void test('a side costs no trade', (t) => {
  for (const [sent, side, notes] of [
    ['BID', 1, undefined],
    ['b', 1, undefined],
    ['1', 1, undefined],
    [1, 1, undefined],
    ['Ask', -1, undefined],
    ['S', -1, undefined],
    ['-1', -1, undefined],
    [-1, -1, undefined],
    [null, null, undefined],
    ['', null, ['unknown_side']],
    ['unknown', null, ['unknown_side']],
    [0, null, ['unknown_side']],
    [{ side: 'buy' }, null, ['unknown_side']],
  ]) {
    const event = inBoth({ side: sent });
    t.strictSame([event.side, event.notes], [side, notes], JSON.stringify(sent));
  }
  t.end();
});

void test('a trade is told apart by seq, else by its trade_id', (t) => {
  const unnumbered = { seq: null };
  t.match(inBoth({ seq: 7, trade_id: 'T-1' }), { seq: 7n, eventId: /\|7$/ });
  t.match(inBoth({ seq: 7, trade_id: {} }), { seq: 7n }, 'beside a seq it is not looked at');
  t.match(
    inBoth({ seq: 2n ** 53n + 1n }),
    { seq: 2n ** 53n + 1n },
    'digits of a JSON number that are all there',
  );
  t.match(inBoth({ seq: 2n ** 63n - 1n }), { seq: 2n ** 63n - 1n });
  t.match(inBoth({ ...unnumbered, trade_id: 4711 }), { seq: 4711n, notes: undefined });
  t.match(inBoth({ ...unnumbered, trade_id: '4711' }), { seq: 4711n });
  t.match(inBoth({ ...unnumbered, trade_id: 2n ** 53n + 1n }), { seq: 2n ** 53n + 1n });
  t.match(inBoth({ ...unnumbered, trade_id: 'abc' }), { seq: 0xba7816bf8f01cfean >> 2n });
  for (const none of [{}, { trade_id: null }, { trade_id: '' }])
    t.match(inBoth({ ...unnumbered, ...none }), { seq: 0n, notes: ['unnumbered'] });
  t.notOk(inBoth({ seq: 0 }).notes, 'a seq of 0 that was sent is one');
  t.end();
});

void test('a provider without either may be told apart by content', (t) => {
  const providers = providersOf({ [GOOD.provider]: { identity: 'content' } });
  const seqOf = (change: object): bigint => inBoth({ seq: null, ...change }, providers).seq;
  const first = seqOf({});
  t.equal(first, contentNumber({ price: 425.15, size: 1200, bid: null, ask: null, side: null }));
  t.equal(seqOf({ c: '425.150', ingest_ts: null }), first, 'the same content, however it was written');
  t.not(seqOf({ c: 425.16 }), first);
  t.not(seqOf({ side: 'b' }), first);
  t.equal(seqOf({ side: 'b' }), seqOf({ side: 'buy' }));
  t.equal(seqOf({ seq: 0 }), 0n);
  t.equal(seqOf({ trade_id: 5 }), 5n);
  t.notOk(inBoth({ seq: null }, providers).notes);
  const bar = { ...GOOD, kind: 'bar', interval: '1m', seq: null };
  t.match(decodeEvent(json(bar), 'json', providers), { kind: 'bar', seq: 0n }, 'a window has one bar');
  t.end();
});

void test('digits that a double does not keep are stored rounded, and told', (t) => {
  for (const [change, expected] of [
    [{ size: 9007199254740993n }, { size: 9007199254740992 }],
    [{ size: '9007199254740993' }, { size: 9007199254740992 }],
    [{ price: '1234.123456789012345678' }, { price: 1234.1234567890124 }],
    [{ price: -9007199254740993n }, { price: -9007199254740992 }],
    [{ bid: '0.123456789012345678' }, { bid: 0.12345678901234568 }],
    [{ ask: 2n ** 63n - 1n }, { ask: 2 ** 63 }],
  ] as const) {
    t.match(inBoth(change), { ...expected, notes: ['rounded'] }, Object.keys(change)[0]);
  }
  for (const change of [
    { size: 9007199254740992n },
    { size: 2n ** 60n },
    { size: '0.500000000000000000' },
    { price: '123456789.12345678' },
    { price: 0.1 },
    { price: 1e300 },
    { bid: 5e-324 },
  ]) {
    t.notOk(inBoth(change).notes, Object.keys(change)[0]);
  }
  t.notOk(
    (good(Buffer.from(JSON.stringify(GOOD).replace('425.15', '425.1500000000000000000001'))) as TickEvent)
      .notes,
  );
  const bar = { ...GOOD, kind: 'bar', v: '1200.123456789012345678' };
  t.match(decodeEvent(json(bar), 'json'), { volume: 1200.1234567890124, notes: ['rounded'] });
  t.end();
});

void test('instruments are named as they are, and by the map of their provider', (t) => {
  for (const symbol of ['SPX   141122P00019500', '币安人生USDT', 'Ä'.repeat(64)])
    t.match(inBoth({ symbol }), {
      symbol,
      eventId: `${GOOD.provider}|${symbol}|2025-10-24T14:02:01.234567Z|183`,
    });
  t.equal(inBoth({ symbol: 'äpfel' }).symbol, 'äPFEL');
  const providers = providersOf({ [GOOD.provider]: { symbols: { kPEPE: '1000PEPE' }, case: 'refuse' } });
  t.match(inBoth({ symbol: 'kPEPE' }, providers), { symbol: '1000PEPE', eventId: /\|1000PEPE\|/ });
  t.match(inBoth({ symbol: 'KPEPE' }, providers), { symbol: 'KPEPE' });
  t.match(decodeEvent(json({ ...GOOD, symbol: 'kBONK' }), 'json', providers), {
    reason: 'bad_symbol',
    detail: /"kBONK"/,
  });
  t.match(inBoth({ symbol: 'kPEPE', provider: 'another' }, providers), { symbol: 'KPEPE' });
  t.end();
});

void test('times with zones, fewer digits and more', (t) => {
  for (const [text, expected] of [
    ['2025-10-24T16:02:01.5+02:00', '2025-10-24T14:02:01.500000Z'],
    ['2025-10-24 14:02:01', '2025-10-24T14:02:01.000000Z'],
    ['2025-10-24T14:02:01.123456789Z', '2025-10-24T14:02:01.123456Z'],
    ['2024-02-29T23:59:59.999999Z', '2024-02-29T23:59:59.999999Z'],
    ['2000-01-01T00:00:00.000000Z', '2000-01-01T00:00:00.000000Z'],
    ['2026-12-31T23:59:60Z', '2027-01-01T00:00:00.000000Z'],
    ['2026-11-28T24:00', '2026-11-29T00:00:00.000000Z'],
    ['20261128T180000Z', '2026-11-28T18:00:00.000000Z'],
    ['2026-11-28 18:00:00.5 UTC', '2026-11-28T18:00:00.500000Z'],
    ['1999-12-31T23:59:60Z', '2000-01-01T00:00:00.000000Z'],
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
