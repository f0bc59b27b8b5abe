import assert from 'node:assert/strict';
import fc from 'fast-check';
import { decode } from '@msgpack/msgpack';
import { test } from 'tap';
import { decodeEvent } from '../../../../../src/core/market/codec/decode.ts';
import { encodeEvent, eventJson } from '../../../../../src/core/market/codec/encode.ts';
import { eventIdOf } from '../../../../../src/core/market/event-id.ts';
import { EVENT_TIME_END_US, EVENT_TIME_FIRST_US } from '../../../../../src/core/market/event-time.ts';
import type { MarketEvent } from '../../../../../src/core/market/event.ts';
import { symbolProblem } from '../../../../../src/core/market/identity/symbol.ts';
import { intervalName } from '../../../../../src/core/market/interval.ts';
import { formatMicros } from '../../../../../src/core/time.ts';

const provider = fc.stringMatching(/^[!-{}~]{1,64}$/);
const symbol = fc
  .oneof(
    fc.stringMatching(/^[!-`~]{1,128}$/),
    fc.stringMatching(/^[A-Z币安Äß🐸"\\]([A-Z币安Äß🐸"\\ ]{0,30}[A-Z币安Äß🐸"\\])?$/u),
  )
  .filter((text) => symbolProblem(text) === null);
const time = fc.bigInt({ min: EVENT_TIME_FIRST_US, max: EVENT_TIME_END_US - 1n });
const price = fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0);
const amount = price.map(Math.abs);
const orNull = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | null> => fc.option(value, { nil: null });
const INT64_MAX = 2n ** 63n - 1n;

const head = fc
  .record({
    provider,
    symbol,
    srcTs: time,
    ingestTs: orNull(time),
    seq: fc.oneof(fc.bigInt({ min: 0n, max: 300n }), fc.bigInt({ min: 0n, max: INT64_MAX })),
    replayRunId: orNull(fc.bigInt({ min: 1n, max: INT64_MAX })),
  })
  .map((fields) => ({
    ...fields,
    origin: fields.replayRunId === null ? ('live' as const) : ('replay' as const),
  }));

const tick = fc
  .tuple(
    head,
    fc.record({
      price,
      size: orNull(amount),
      bid: orNull(price),
      ask: orNull(price),
      side: fc.constantFrom(1 as const, -1 as const, null),
    }),
  )
  .map(([fields, values]): MarketEvent => {
    const { provider, symbol, srcTs, seq } = fields;
    const eventId = eventIdOf(provider, symbol, formatMicros(srcTs), seq, null);
    return { kind: 'tick', ...fields, ...values, eventId };
  });

const bar = fc
  .tuple(
    head,
    fc.array(price, { minLength: 4, maxLength: 4 }),
    amount,
    fc.integer({ min: 1, max: 366 * 86_400_000 }),
  )
  .map(([fields, prices, volume, ms]): MarketEvent => {
    const { provider, symbol, srcTs, seq } = fields;
    const interval = intervalName(ms);
    const [open, close] = prices;
    const [high, low] = [Math.max(...prices), Math.min(...prices)];
    const eventId = eventIdOf(provider, symbol, formatMicros(srcTs), seq, interval);
    return { kind: 'bar', ...fields, interval, open, high, low, close, volume, eventId };
  });

const encoding = fc.constantFrom<'json' | 'msgpack'>('json', 'msgpack');

void test('decoding an encoded event gives the same event', (t) => {
  let count = 0;
  fc.assert(
    fc.property(fc.oneof(tick, bar), encoding, (event, encoding) => {
      count += 1;
      const read = decodeEvent(encodeEvent(event, encoding), encoding);
      assert.deepStrictEqual(read, event);
    }),
    { numRuns: 1500 },
  );
  t.ok(count >= 1500);
  t.end();
});

void test('both encodings say the same, in the words of the contract', (t) => {
  fc.assert(
    fc.property(fc.oneof(tick, bar), (event) => {
      const fromJson = JSON.parse(eventJson(event)) as Record<string, unknown>;
      const packed = decode(encodeEvent(event, 'msgpack'), { useBigInt64: true }) as Record<string, unknown>;
      for (const key of new Set([...Object.keys(fromJson), ...Object.keys(packed)])) {
        const equal = key === 'seq' || key === 'replay_run_id';
        const same = equal ? String(fromJson[key]) === String(packed[key]) : fromJson[key] === packed[key];
        if (!same) throw new Error(`${key}: ${String(fromJson[key])} and ${String(packed[key])}`);
      }
    }),
    { numRuns: 500 },
  );
  t.end();
});

const TICK: MarketEvent = {
  kind: 'tick',
  provider: 'ibkr_primary',
  symbol: 'SPY',
  srcTs: 1_761_314_521_234_567n,
  ingestTs: null,
  seq: 183n,
  price: 425.15,
  size: null,
  bid: null,
  ask: 425.16,
  side: -1,
  origin: 'live',
  replayRunId: null,
  eventId: 'ibkr_primary|SPY|2025-10-24T14:02:01.234567Z|183',
};

void test('absent fields are left out; whole numbers beyond 2^53 - 1 are strings', (t) => {
  t.equal(
    eventJson(TICK),
    '{"ver":1,"provider":"ibkr_primary","symbol":"SPY","kind":"tick","src_ts":"2025-10-24T14:02:01.234567Z",' +
      '"price":425.15,"ask":425.16,"side":"sell","seq":183,"event_id":"ibkr_primary|SPY|2025-10-24T14:02:01.234567Z|183"}',
  );
  t.match(eventJson({ ...TICK, seq: 2n ** 53n }), '"seq":"9007199254740992"');
  t.match(eventJson({ ...TICK, seq: 2n ** 53n - 1n }), '"seq":9007199254740991');
  t.end();
});

void test('the longest event has room', (t) => {
  const provider = '\\'.repeat(64);
  const [srcTs, seq, interval] = [EVENT_TIME_FIRST_US, INT64_MAX, '31622399999ms'];
  for (const symbol of ['"'.repeat(128), '币'.repeat(42), '🐸'.repeat(32)]) {
    const event: MarketEvent = {
      kind: 'bar',
      provider,
      symbol,
      srcTs,
      ingestTs: srcTs,
      seq,
      interval,
      open: -5e-324,
      high: 1.7976931348623157e308,
      low: -1.7976931348623157e308,
      close: 0,
      volume: 0.1,
      origin: 'replay',
      replayRunId: INT64_MAX,
      eventId: eventIdOf(provider, symbol, formatMicros(srcTs), seq, interval),
    };
    for (const encoding of ['json', 'msgpack'] as const)
      t.strictSame(decodeEvent(encodeEvent(event, encoding), encoding), event);
  }
  t.end();
});

void test('a replayed tick has the fields of the replay message', (t) => {
  const message: unknown = JSON.parse(eventJson({ ...TICK, origin: 'replay', replayRunId: 42n }));
  t.match(message, {
    kind: 'tick',
    price: 425.15,
    timestamp: '2025-10-24T14:02:01.234567Z',
    src_ts: '2025-10-24T14:02:01.234567Z',
    origin: 'replay',
    replay_run_id: 42,
  });
  t.end();
});
