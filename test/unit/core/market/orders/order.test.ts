import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { test } from 'tap';
import { parseTickJson } from '../../../../../src/core/chain/tick-json.ts';
import type { TickEvent } from '../../../../../src/core/market/event.ts';
import { DEFAULT_MINTS, orderEvent, type OrderPlace } from '../../../../../src/core/market/orders/order.ts';
import { realTicks } from '../../../../support/chain/content/real-ticks.ts';

const SOL = 'So11111111111111111111111111111111111111112';
const USDC = 'EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v';
const PLACE: OrderPlace = { tickTimestamp: 1_755_945_303_178_360n, sequenceNumber: 44_941n, ingestTs: null };
const intent = {
  base_mint: SOL,
  quote_mint: USDC,
  side: 'Sell',
  price: 113_000_000_000,
  quantity: 46_400_472_862,
};
const payload = (change: object = {}, outer: object = {}): Buffer =>
  Buffer.from(`FRM_v1.0:${JSON.stringify({ type: 'order', intent: { ...intent, ...change }, ...outer })}`);
const read = (bytes: Uint8Array, place = PLACE): ReturnType<typeof orderEvent> =>
  orderEvent(bytes, place, DEFAULT_MINTS);
const digits = (price: string, quantity = '1'): Buffer =>
  Buffer.from(
    `FRM_v1.0:{"type":"order","intent":{"base_mint":"${SOL}","quote_mint":"${USDC}","side":"Buy","price":${price},"quantity":${quantity}}}`,
  );

void test('the three real orders', { skip: realTicks.skip }, (t) => {
  const ticks = readFileSync(realTicks.path, 'utf8').trim().split('\n').map(parseTickJson);
  const events = ticks.flatMap((tick) =>
    tick.transactions.map(({ transaction, sequenceNumber }) =>
      read(transaction.payload, { tickTimestamp: tick.timestamp, sequenceNumber, ingestTs: null }),
    ),
  );
  t.strictSame(
    events.map((event) =>
      event.kind === 'tick' ? [event.symbol, event.price, event.size, event.side] : event,
    ),
    [
      ['SOL-USDC', 113, 46.400472862, -1],
      ['SOL-USDC', 110, 25.50128361, 1],
      ['SOL-USDC', 122, 40.128850103, 1],
    ],
  );
  t.match(events[0], {
    provider: 'continuum',
    srcTs: 1_755_945_303_178_360n,
    seq: 44_941n,
    eventId: 'continuum|SOL-USDC|2025-08-23T10:35:03.178360Z|44941',
  });
  t.end();
});

void test('integers are scaled to the nearest double, up to 2^64 - 1', (t) => {
  fc.assert(
    fc.property(fc.bigInt({ min: 1n, max: 2n ** 64n - 1n }), (whole) => {
      const event = read(digits(`${whole}`, `${whole}`));
      const text = whole.toString().padStart(10, '0');
      const nearest = Number(`${text.slice(0, -9)}.${text.slice(-9)}`);
      if (event.kind !== 'tick' || event.price !== nearest || event.size !== nearest)
        throw new Error(`${whole}`);
    }),
  );
  t.match(read(digits('"113000000000"')), { price: 113 }, 'a string of digits is taken too');
  t.match(read(digits('18446744073709551615')), {
    price: Number('18446744073.709551615'),
    notes: ['rounded'],
  });
  t.match(read(digits('1', '18446744073709551615')), { notes: ['rounded'] });
  t.notOk(
    (read(digits('18446744073709551000', '12345678901234567')) as TickEvent).notes,
    '17 digits are kept',
  );
  t.end();
});

void test('an amount without decimals is an integer, which a double may not keep', (t) => {
  const mints = new Map([
    [SOL, { name: 'SHIB', decimals: 0 }],
    [USDC, { name: 'USDC', decimals: 6 }],
  ]);
  const sized = (quantity: string): unknown => orderEvent(digits('1', quantity), PLACE, mints);
  t.match(sized('9007199254740993'), { size: 9007199254740992, notes: ['rounded'] });
  t.match(sized('9007199254740992'), { size: 9007199254740992, notes: undefined });
  t.end();
});

void test('decimals and names come from the configuration', (t) => {
  const mints = new Map([
    [SOL, { name: 'WSOL', decimals: 6 }],
    [USDC, { name: 'USD', decimals: 2 }],
  ]);
  t.match(orderEvent(payload(), PLACE, mints), { symbol: 'WSOL-USD', price: 113, size: 46_400.472862 });
  t.end();
});

void test('what is no order that we know is named and never thrown', (t) => {
  for (const [bytes, reason] of [
    [Buffer.alloc(0), 'other_protocol'],
    [Buffer.from('FRM_v1.1:{}'), 'other_protocol'],
    [Buffer.from('hello'), 'other_protocol'],
    [Buffer.from('FRM_v1.0:'), 'not_json'],
    [Buffer.from('FRM_v1.0:[]'), 'not_json'],
    [Buffer.from('FRM_v1.0:{"type":'), 'not_json'],
    [Buffer.concat([Buffer.from('FRM_v1.0:"'), Buffer.from([0xff]), Buffer.from('"')]), 'not_json'],
    [payload({}, { type: 'cancel' }), 'other_type'],
    [payload({}, { intent: null }), 'not_json'],
    [payload({}, { intent: [1] }), 'not_json'],
    [payload({ base_mint: 'Bonk' }), 'unknown_mint'],
    [payload({ quote_mint: undefined }), 'unknown_mint'],
    [payload({ base_mint: '__proto__' }), 'unknown_mint'],
    [payload({ side: 'sell' }), 'bad_field'],
    [payload({ price: -1 }), 'bad_field'],
    [payload({ price: 1.5 }), 'bad_field'],
    [payload({ price: null }), 'bad_field'],
    [payload({ quantity: '1e3' }), 'bad_field'],
    [digits('18446744073709551616'), 'bad_field'],
    [digits('1e3'), 'bad_field'],
    [payload({ price: 0 }), 'no_price'],
    [Buffer.from('FRM_v1.0:{"__proto__":{"type":"order"}}'), 'other_type'],
  ] as const) {
    t.strictSame(read(bytes), { kind: 'unknown', reason }, bytes.toString().slice(0, 60));
  }
  t.strictSame(read(payload(), { ...PLACE, tickTimestamp: 0n }), {
    kind: 'unknown',
    reason: 'time_out_of_range',
  });
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 60 }),
      (bytes) => void read(Buffer.concat([Buffer.from('FRM_v1.0:'), bytes])),
    ),
  );
  t.end();
});
