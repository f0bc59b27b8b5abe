import { test } from 'tap';
import { symbolProblem, upperCased } from '../../../../../src/core/market/identity/symbol.ts';

void test('what real feeds name their instruments', async (t) => {
  for (const symbol of [
    'SPY',
    'BRK B',
    'SPX   141122P00019500',
    '币安人生USDT',
    'ГАЗП',
    'ÄÖÜ',
    'e\u0301DF',
    '🐸USDT',
    'EUR/USD',
    '"\\\'~',
    '_',
    'A'.repeat(128),
    'Ä'.repeat(64),
    '币'.repeat(42),
  ]) {
    t.equal(symbolProblem(symbol), null, symbol);
  }
});

void test('what is none, and why', async (t) => {
  for (const [symbol, why] of [
    ['', 'has not 1 to 128 bytes'],
    ['A'.repeat(129), 'has not 1 to 128 bytes'],
    ['Ä'.repeat(65), 'has more than 128 bytes'],
    ['币'.repeat(43), 'has more than 128 bytes'],
    [' A', 'begins or ends with a blank'],
    ['A ', 'begins or ends with a blank'],
    [' ', 'begins or ends with a blank'],
    ['A|B', 'has U+007c at 1; allowed are printable characters without |'],
    ['币|', 'has U+007c at 1; allowed are printable characters without |'],
    ['A\0', 'has U+0000 at 1; allowed are printable characters without |'],
    ['A\nB', 'has U+000a at 1; allowed are printable characters without |'],
    ['A\u007f', 'has U+007f at 1; allowed are printable characters without |'],
    ['A\u0085', 'has U+0085 at 1; allowed are printable characters without |'],
    ['A\u00a0B', 'has U+00a0 at 1; allowed are printable characters without |'],
    ['A\u3000B', 'has U+3000 at 1; allowed are printable characters without |'],
    ['A\u200dB', 'has U+200d at 1; allowed are printable characters without |'],
    ['A\u202eB', 'has U+202e at 1; allowed are printable characters without |'],
    ['\ufeffA', 'has U+feff at 0; allowed are printable characters without |'],
    ['A\ud800', 'has U+d800 at 1; allowed are printable characters without |'],
    ['A\ue000', 'has U+e000 at 1; allowed are printable characters without |'],
    ['A\u0378', 'has U+0378 at 1; allowed are printable characters without |'],
    ['A\ufffd', 'has U+fffd at 1; allowed are printable characters without |'],
  ] as const) {
    t.equal(symbolProblem(symbol), why, JSON.stringify(symbol));
  }
});

void test('a-z alone are upper-cased, as the database compares', async (t) => {
  for (const [symbol, expected] of [
    ['spy', 'SPY'],
    ['SPY', 'SPY'],
    ['brk.b~1', 'BRK.B~1'],
    ['äß币ı', 'äß币ı'],
    ['aäbßcİd', 'AäBßCİD'],
  ] as const) {
    t.equal(upperCased(symbol), expected);
  }
});
