import { test } from 'tap';
import { PAGE, rowId, symbol, tickNumber, time, word } from '../../../../src/serve/api/parameters.ts';

void test('times are ISO-8601, UTC without a zone, or microseconds', (t) => {
  const ten = 1_761_904_800_000_000n;
  for (const text of [
    '2025-10-31T10:00:00Z',
    '2025-10-31T10:00:00',
    '2025-10-31 10:00:00.000000',
    '2025-10-31T12:00:00+02:00',
    '1761904800000000',
  ])
    t.equal(time.parse(text), ten, text);
  t.equal(time.parse('-1'), -1n);
  t.equal(time.parse('2025-10-31'), ten - 36_000_000_000n);
  for (const text of [
    '',
    'now',
    '2025-13-01',
    '1e9',
    '253402300800000000',
    '-62135596800000001',
    '99999999999999999999',
  ])
    t.notOk(time.safeParse(text).success, text);
  t.end();
});

void test('symbols are upper-cased by the ASCII rule and must be such', (t) => {
  t.equal(symbol.parse('btc/usd'), 'BTC/USD');
  t.equal(symbol.parse('äb'), 'äB');
  for (const text of ['', 'a|b', ' a', 'a\nb', 'a\u200bb', 'x'.repeat(129), 'ä'.repeat(65)])
    t.notOk(symbol.safeParse(text).success, JSON.stringify(text));
  t.end();
});

void test('numbers are whole, and no larger than what is stored', (t) => {
  t.equal(tickNumber.parse('9223372036854775807'), 2n ** 63n - 1n);
  for (const text of ['9223372036854775808', '-1', '1.0', '', '0x1', '00000000000000000000'])
    t.notOk(tickNumber.safeParse(text).success, text);
  t.equal(rowId.parse('7'), 7n);
  t.notOk(rowId.safeParse('1000000000000000').success);
  t.equal(PAGE.limit.parse('10000'), 10_000);
  for (const text of ['0', '10001', '-1', '1.5', '']) t.notOk(PAGE.limit.safeParse(text).success, text);
  for (const text of ['', '\0', 'a\nb', 'x'.repeat(129)]) t.notOk(word.safeParse(text).success);
  t.end();
});
