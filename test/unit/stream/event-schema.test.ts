import fc from 'fast-check';
import { test } from 'tap';
import { normalise, type RawEvent } from '../../../src/core/market/normalise.ts';
import { eventSchema } from '../../../src/stream/event-schema.ts';

const oneOf = <T>(...values: T[]): fc.Arbitrary<T> => fc.constantFrom(...values);
const often = (good: fc.Arbitrary<unknown>, bad: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 60, arbitrary: good }, { weight: 1, arbitrary: bad });
const junk = fc.oneof(
  oneOf<unknown>(
    true,
    [],
    {},
    '',
    ' 1',
    '1,5',
    '0x10',
    'NaN',
    'Infinity',
    '1e999',
    '.5',
    '5.',
    '+1',
    '-0',
    'é',
    'A|B',
  ),
  fc.double(),
  fc.string(),
  fc.jsonValue(),
);
const aName = fc.oneof(
  { weight: 9, arbitrary: oneOf('SPY', 'ibkr_primary') },

  oneOf(
    'SPY',
    'brk.b',
    'sol-usdc',
    '"\\',
    'SPX   141122P00019500',
    '币安人生USDT',
    ' SPY',
    'A\u200bB',
    'Ä'.repeat(64),
  ),
  fc.string({ unit: 'grapheme-ascii', maxLength: 70 }),
);
const aTime = oneOf(
  ...Array.from({ length: 20 }, (_, at) => `2025-10-24T14:02:01.2345${10 + at}Z`),
  '2025-10-24T14:02:01.234567Z',
  '2025-10-24T14:02:01',
  '2025-10-24 14:02:01.5+02:00',
  '2024-02-29T00:00:00.000000Z',
  '2023-02-29T00:00:00.000000Z',
  '9999-12-31T23:59:59.999999Z',
  '1999-12-31T23:59:59.999999Z',
  '2000-01-01T00:00:00Z',
  '2100-01-01T00:00:00Z',
  '2025-10-24T24:00:00.000000Z',
  '2025-10-24T23:59:60Z',
  '20251024T140201Z',
  '2025-10-24 14:02:01 UTC',
  '20x5-10-24T14:02:01.234567Z',
);
const aNumber = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.integer(),
  oneOf('113.25', '-1', '1e3', '0'),
);
const aWhole = fc.oneof(
  fc.nat(),
  oneOf<unknown>('9223372036854775807', '9223372036854775808', 2 ** 53, 2 ** 53 - 1, -1, '01'),
);
const absent = oneOf(undefined, null);
const maybe = (value: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> => fc.oneof(value, absent);

const event = fc.record<Record<keyof RawEvent, unknown>>({
  ver: often(oneOf(1, 1, undefined, null), oneOf<unknown>(0, 2, '1')),
  kind: often(oneOf('tick', 'bar', undefined), oneOf<unknown>('trade', 7)),
  provider: often(aName, junk),
  symbol: often(aName, junk),
  src_ts: often(fc.oneof(aTime, aTime, absent), junk),
  timestamp: often(maybe(aTime), junk),
  ts: often(maybe(aTime), junk),
  ingest_ts: often(maybe(aTime), junk),
  seq: often(maybe(aWhole), junk),
  trade_id: often(
    fc.oneof(aWhole, fc.uuid(), absent),
    fc.oneof(junk, oneOf<unknown>('x'.repeat(129), '\ud800')),
  ),
  price: often(maybe(aNumber), junk),
  size: often(maybe(aNumber), junk),
  bid: often(maybe(aNumber), junk),
  ask: often(maybe(aNumber), junk),
  side: often(oneOf<unknown>('buy', 'sell', 'Sell', 'bid', -1, undefined), junk),
  o: often(oneOf<unknown>(2, '2', 3), junk),
  h: often(oneOf<unknown>(4, '4', 2), junk),
  l: often(oneOf<unknown>(1, '1', 2), junk),
  c: often(oneOf<unknown>(2, '2', 3), junk),
  v: often(maybe(aNumber), junk),
  volume: often(maybe(aNumber), junk),
  interval: often(
    oneOf('1s', '60s', '1m', '500ms', '1d', undefined),
    oneOf<unknown>('0s', '1x', '999999999999d', 1),
  ),
  origin: often(oneOf('live', 'replay', undefined, undefined), junk),
  replay_run_id: often(oneOf<unknown>(42, '42', 0, undefined, undefined), junk),
});

void test('the schema and the normaliser accept and refuse the same events', (t) => {
  let accepted = 0;
  fc.assert(
    fc.property(event, (raw) => {
      const verdict = normalise(raw);
      const schema = eventSchema.safeParse(raw);
      if (schema.success) accepted += 1;
      if (schema.success !== (verdict.kind !== 'refused')) {
        throw new Error(
          `${JSON.stringify(verdict, (_, v: unknown) => (typeof v === 'bigint' ? `${v}` : v))} against ${schema.error?.message ?? 'accepted'}`,
        );
      }
    }),
    { numRuns: 20_000 },
  );
  t.ok(accepted > 2000, `${accepted} of 20,000 were good`);
  t.end();
});
