import fc from 'fast-check';
import { test } from 'tap';
import { isRounded, parseExactly } from '../../../../../src/core/market/codec/precision.ts';

const rounded = (sent: string | bigint): boolean => isRounded(sent, Number(sent));

void test('integers and digits that a double does not keep', async (t) => {
  for (const sent of [
    9007199254740993n,
    2n ** 63n - 1n,
    -9007199254740993n,
    '9007199254740993',
    '0.123456789012345678',
    '1.000000000000000001',
    '-0.000123456789012345678',
    '123456789012345678.5',
    '1.23456789012345678e-30',
  ]) {
    t.ok(rounded(sent), String(sent));
  }
});

void test('what a double keeps', async (t) => {
  for (const sent of [
    9007199254740992n,
    2n ** 60n,
    10n ** 22n,
    '18014398509481984',
    '0.5',
    '0.500000000000000000',
    '100000000000000000000000.0',
    '0.00000000000000000012345678901234567',
    '0.10000000000000001',
    '1e300',
    '1234567.12345678',
  ]) {
    t.notOk(rounded(sent), String(sent));
  }
  t.notOk(isRounded(9007199254740992, 9007199254740992), 'a JSON number with a fraction or an exponent');
});

void test('no double is rounded, whatever digits it is written with', async () => {
  fc.assert(
    fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
      const whole = Number.isInteger(value);
      return (
        !isRounded(String(value), value) &&
        !isRounded(value.toPrecision(17), value) &&
        !(whole && isRounded(BigInt(value), value)) &&
        !(whole && Math.abs(value) < 1e21 && isRounded(BigInt(String(value)), value))
      );
    }),
    { numRuns: 3000 },
  );
});

void test('integers of JSON come with all of their digits', async (t) => {
  t.strictSame(
    parseExactly(
      '{"a":9007199254740993,"b":[-9007199254740993,1],"c":9007199254740992.0,"d":1e20,"e":1e999,"f":"x"}',
    ),
    { a: 9007199254740993n, b: [-9007199254740993n, 1], c: 9007199254740992, d: 1e20, e: Infinity, f: 'x' },
  );
});
