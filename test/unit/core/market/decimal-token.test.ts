import { test } from 'tap';
import { decimalToken } from '../../../../src/core/market/decimal-token.ts';

void test('a decimal is a number where a double is written in the same digits, else a string', (t) => {
  for (const decimal of ['0', '1', '-1', '0.1', '100.5', '9007199254740991', '0.000001'])
    t.equal(decimalToken(decimal), decimal);
  for (const decimal of [
    '100.50',
    '-0',
    '0.0',
    '0.10000000000000000001',
    '9007199254740993',
    '1000000000000000000000000',
    '0.0000001',
    'NaN',
    'Infinity',
  ])
    t.equal(decimalToken(decimal), `"${decimal}"`);
  t.end();
});
