import { createHash } from 'node:crypto';
import { test } from 'tap';
import { contentNumber, tradeNumber } from '../../../../../src/core/market/identity/trade-number.ts';

/** Another way to it: the digest as one number, its first 62 of 256 bits. */
const first62 = (text: string): bigint =>
  BigInt(`0x${createHash('sha256').update(text, 'utf8').digest('hex')}`) / 2n ** 194n;

void test('an id that is a number is that number, however it came', async (t) => {
  for (const [id, expected] of [
    [0, 0n],
    [4711, 4711n],
    ['4711', 4711n],
    [4711n, 4711n],
    [2 ** 53 - 1, 2n ** 53n - 1n],
    [2n ** 53n + 1n, 2n ** 53n + 1n],
    ['9223372036854775807', 2n ** 63n - 1n],
  ] as const) {
    t.equal(tradeNumber(id), expected);
  }
});

void test('any other is 62 bits of its SHA-256', async (t) => {
  const ids = [
    '9c6a8a34-4d5e-4a57-8c2c-0d5a0b9f8a11',
    'T-1',
    '007',
    '-1',
    '1.0',
    '9223372036854775808',
    'é',
    '币安',
    ' ',
    'x'.repeat(128),
    'é'.repeat(64),
  ];
  for (const id of ids) t.equal(tradeNumber(id), first62(id), id);
  t.equal(tradeNumber(-1), first62('-1'));
  t.equal(tradeNumber(2n ** 63n), first62('9223372036854775808'));
  t.equal(new Set(ids.map(tradeNumber)).size, ids.length);
  // the example of FIPS 180-4
  t.equal(tradeNumber('abc'), 0xba7816bf8f01cfean >> 2n);
});

void test('an empty one is none, and what is no text and no number is refused', async (t) => {
  t.equal(tradeNumber(''), null);
  for (const id of [1.5, NaN, 2 ** 53, true, {}, [], 'x'.repeat(129), 'é'.repeat(65), '\ud800'])
    t.match(tradeNumber(id), { kind: 'refused', reason: 'bad_trade_id' }, JSON.stringify(id).slice(0, 20));
});

void test('the number of a content depends on all of it', async (t) => {
  const content = { price: 425.15, size: 100, bid: 425.1, ask: null, side: -1 } as const;
  t.equal(contentNumber(content), first62('425.15|100|425.1||-1'));
  t.equal(
    contentNumber({ price: 1e21, size: null, bid: null, ask: 5e-324, side: null }),
    first62('1e+21|||5e-324|'),
  );
  const others = [
    { ...content, price: 425.16 },
    { ...content, size: null },
    { ...content, size: 0 },
    { ...content, bid: null, ask: 425.1 },
    { ...content, side: 1 as const },
    { ...content, side: null },
  ];
  t.equal(new Set([content, ...others].map(contentNumber)).size, 7);
});
