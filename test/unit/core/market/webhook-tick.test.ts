import fc from 'fast-check';
import { test } from 'tap';
import { decodeEvent } from '../../../../src/core/market/codec/decode.ts';
import { encodeEvent } from '../../../../src/core/market/codec/encode.ts';
import { providersOf } from '../../../../src/core/market/identity/providers.ts';
import { formatMicros } from '../../../../src/core/time.ts';
import {
  decodeWebhookTick,
  encodeWebhookTick,
  eventOfWebhookTick,
  parseWebhookBody,
  WEBHOOK_TICKS_MAX,
  type WebhookProblem,
  type WebhookTick,
} from '../../../../src/core/market/webhook-tick.ts';

/** 2025-10-31 10:00:00 UTC */
const TEN = 1_761_904_800_000_000n;
const GOOD = {
  symbol: 'BTCUSDT',
  ts: '2025-10-31T10:00:00Z',
  price: '110000.10',
  volume: '0.5',
  source: 'feeder',
};

function accepted(text: string): WebhookTick[] {
  const found = parseWebhookBody(text);
  if (found.kind === 'refused') throw new Error(JSON.stringify(found.problems));
  return found.ticks;
}

function problems(text: string): WebhookProblem[] {
  const found = parseWebhookBody(text);
  return found.kind === 'refused' ? found.problems : [];
}

void test('one tick, or a list of them', async (t) => {
  const expected = {
    symbol: 'BTCUSDT',
    ts: TEN,
    price: '110000.10',
    volume: '0.5',
    source: 'feeder',
    seq: 0n,
    eventId: 'feeder|BTCUSDT|2025-10-31T10:00:00.000000Z|0',
  };
  t.strictSame(accepted(JSON.stringify(GOOD)), [expected]);
  t.strictSame(accepted(JSON.stringify([GOOD, { ...GOOD, symbol: 'ethusdt', seq: '9007199254740993' }])), [
    expected,
    {
      ...expected,
      symbol: 'ETHUSDT',
      seq: 9_007_199_254_740_993n,
      eventId: 'feeder|ETHUSDT|2025-10-31T10:00:00.000000Z|9007199254740993',
    },
  ]);
  t.strictSame(accepted('[]'), []);
});

const raw = (price: string, seq: string): string =>
  JSON.stringify(GOOD).replace('"110000.10"', price).replace('}', `,"seq":${seq}}`);

void test('numbers keep their digits, whatever a double makes of them', async (t) => {
  const [tick] = accepted(raw('12345678901234567890.123456789', '9223372036854775807'));
  t.equal(tick.price, '12345678901234567890.123456789');
  t.equal(tick.seq, 2n ** 63n - 1n);
  t.equal(
    accepted(raw('0.30000000000000004440892098500626', '0'))[0].price,
    '0.30000000000000004440892098500626',
  );
});

const at = (ts: unknown): bigint => accepted(JSON.stringify({ ...GOOD, ts }))[0].ts;

void test('times are ISO-8601, or whole microseconds', async (t) => {
  t.equal(at('2025-10-31 10:00:00'), TEN, 'without a zone: UTC');
  t.equal(at('2025-10-31T12:00:00.000001+02:00'), TEN + 1n);
  t.equal(at(Number(TEN)), TEN);
});

void test('all or nothing: each problem with its place', async (t) => {
  for (const [change, path, reason] of [
    [{ symbol: null }, 'symbol', 'missing_symbol'],
    [{ symbol: 'A|B' }, 'symbol', 'bad_symbol'],
    [{ symbol: 5 }, 'symbol', 'bad_symbol'],
    [{ source: null }, 'source', 'missing_provider'],
    [{ source: 'ä' }, 'source', 'bad_provider'],
    [{ ts: null }, 'ts', 'missing_time'],
    [{ ts: 'yesterday' }, 'ts', 'bad_time'],
    [{ ts: true }, 'ts', 'bad_time'],
    [{ ts: 1.5 }, 'ts', 'bad_time'],
    [{ ts: 1_761_904_800 }, 'ts', 'time_out_of_range'],
    [{ ts: '1999-12-31T23:59:59Z' }, 'ts', 'time_out_of_range'],
    [{ price: null }, 'price', 'missing_price'],
    [{ price: 'NaN' }, 'price', 'not_finite'],
    [{ price: '1e99' }, 'price', 'bad_price'],
    [{ price: true }, 'price', 'bad_price'],
    [{ price: '1'.repeat(39) }, 'price', 'bad_price'],
    [{ volume: null }, 'volume', 'missing_volume'],
    [{ volume: '-1' }, 'volume', 'bad_volume'],
    [{ volume: 'Infinity' }, 'volume', 'not_finite'],
    [{ seq: -1 }, 'seq', 'bad_seq'],
    [{ seq: 1.5 }, 'seq', 'bad_seq'],
    [{ seq: '9223372036854775808' }, 'seq', 'bad_seq'],
    [{ size: 1 }, 'size', 'unknown_field'],
    [{ constructor: 'x' }, 'constructor', 'unknown_field'],
  ] as const) {
    const text = JSON.stringify({ ...GOOD, ...change });
    t.match(problems(text), [{ path, reason }], text);
    t.match(
      problems(JSON.stringify([GOOD, { ...GOOD, ...change }])),
      [{ path: `[1].${path}`, reason }],
      text,
    );
  }
  t.match(problems('{"__proto__":1}'), [{ path: '__proto__', reason: 'unknown_field' }]);
  t.match(problems('{"price":1,"price":2}'), [{ path: 'price', reason: 'repeated_field' }]);
  t.match(problems('{"price":{}}'), [{ path: 'price', reason: 'bad_json' }]);
  t.match(problems(`[${'{},'.repeat(WEBHOOK_TICKS_MAX)}{}]`), [{ path: '', reason: 'too_large' }]);
  t.equal(problems(`[${Array(50).fill('{}').join(',')}]`).length, 10, 'ten are told');
  t.notMatch(problems(JSON.stringify({ ...GOOD, volume: '-0.0' })), [{}], '-0 is 0');
});

void test('a tick comes back from the bus as it was put there', async () => {
  const decimal = fc
    .tuple(fc.bigInt({ min: 0n, max: 10n ** 19n - 1n }), fc.option(fc.stringMatching(/^\d{1,18}$/)))
    .map(([whole, fraction]) => (fraction === null ? `${whole}` : `${whole}.${fraction}`));
  const tick = fc.record({
    symbol: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 30 }),
    ts: fc.bigInt({ min: 946_684_800_000_000n, max: 4_102_444_799_999_999n }).map(formatMicros),
    price: decimal,
    volume: decimal,
    source: fc.stringMatching(/^[!-{}~]{1,64}$/),
    seq: fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }).map(String),
  });
  let read = 0;
  fc.assert(
    fc.property(tick, (given) => {
      const found = parseWebhookBody(JSON.stringify(given));
      if (found.kind === 'refused') return found.problems[0].path === 'symbol';
      read += 1;
      const [one] = found.ticks;
      const back = decodeWebhookTick(encodeWebhookTick(one), 'json');
      return (
        one.price === given.price &&
        one.volume === given.volume &&
        one.eventId === `${given.source}|${one.symbol}|${given.ts}|${given.seq}` &&
        Object.entries(one).every(([name, value]) => Reflect.get(back, name) === value)
      );
    }),
    { numRuns: 1000 },
  );
  if (read < 100) throw new Error(`only ${read} symbols of 1000 were good`);
});

void test('records of other programs are read by the same rules', async (t) => {
  t.match(decodeWebhookTick(Buffer.from(JSON.stringify(GOOD)), 'json'), {
    symbol: 'BTCUSDT',
    price: '110000.10',
  });
  for (const [data, reason] of [
    ['{', 'bad_json'],
    ['[{}]', 'not_an_object'],
    ['{}', 'missing_provider'],
    [JSON.stringify({ ...GOOD, note: 1 }), 'unknown_field'],
    [Buffer.from([0x22, 0xc3, 0x22]), 'bad_utf8'],
    [' '.repeat(70_000), 'too_large'],
  ] as const)
    t.match(decodeWebhookTick(Buffer.from(data), 'json'), { kind: 'refused', reason });
  t.match(decodeWebhookTick(Buffer.from(JSON.stringify(GOOD)), 'msgpack'), {
    kind: 'refused',
    reason: 'bad_json',
  });
});

void test('what is declared of a source counts, and a forwarded tick is the same event', async (t) => {
  const providers = providersOf({ feeder: { identity: 'content', symbols: { BTCUSDT: 'BTC-USD' } } });
  const found = parseWebhookBody(JSON.stringify(GOOD), providers);
  if (found.kind === 'refused') return t.fail();
  const [tick] = found.ticks;
  t.equal(tick.symbol, 'BTC-USD');
  t.ok(tick.seq > 0n, 'told apart by its content');
  const event = decodeEvent(encodeEvent(eventOfWebhookTick(tick, TEN + 5n), 'json'), 'json', providers);
  t.match(event, {
    kind: 'tick',
    provider: 'feeder',
    symbol: 'BTC-USD',
    srcTs: TEN,
    ingestTs: TEN + 5n,
    price: 110_000.1,
    size: 0.5,
    seq: tick.seq,
    eventId: tick.eventId,
  });
  const raw = JSON.stringify({ ...GOOD, provider: 'feeder', source: undefined });
  t.match(decodeEvent(Buffer.from(raw), 'json', providers), { eventId: tick.eventId }, 'numbered alike');
});
