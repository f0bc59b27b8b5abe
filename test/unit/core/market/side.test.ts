import { test } from 'tap';
import { sideOf } from '../../../../src/core/market/side.ts';

void test('every spelling of a side, in any case', async (t) => {
  for (const value of ['buy', 'Buy', 'BUY', 'b', 'B', 'bid', 'BID', '1', 1])
    t.equal(sideOf(value), 1, String(value));
  for (const value of ['sell', 'Sell', 'SELL', 's', 'S', 'ask', 'Ask', '-1', -1])
    t.equal(sideOf(value), -1, String(value));
});

void test('anything else is none', async (t) => {
  const others = [
    '',
    ' ',
    'buyer',
    'unknown',
    'N',
    '0',
    0,
    2,
    '+1',
    'constructor',
    true,
    {},
    [],
    ['buy'],
    NaN,
    null,
  ];
  for (const value of others) t.equal(sideOf(value), null, JSON.stringify(value));
});
