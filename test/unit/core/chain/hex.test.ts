import * as fc from 'fast-check';
import { test } from 'tap';
import { firstNonHex, isHex, sameHex } from '../../../../src/core/chain/hex.ts';

function check(text: Uint8Array, start = 3): boolean {
  const bytes = new Uint8Array(text.length + 8).fill(0x2f);
  bytes.set(text, start);
  return isHex(new DataView(bytes.buffer), start, text.length);
}

void test('each byte value at each place of a word, in texts of each length', async (t) => {
  for (const length of [2, 4, 6, 8, 10, 16, 24, 30, 64]) {
    for (let at = 0; at < length; at++) {
      for (let byte = 0; byte < 256; byte++) {
        const text = new Uint8Array(length).fill(0x61);
        text[at] = byte;
        const hex = /^[0-9a-f]$/i.test(String.fromCharCode(byte));
        if (check(text) !== hex) t.fail(`byte ${byte} at ${at} of ${length}`);
        if (firstNonHex(text, 0, length) !== (hex ? -1 : at))
          t.fail(`place of byte ${byte} at ${at} of ${length}`);
      }
    }
  }
  t.ok(check(Buffer.from('0123456789abcdefABCDEF')));
});

void test('any bytes, as the regular expression says', async (t) => {
  const digit = fc.constantFrom(...Buffer.from('0123456789abcdefABCDEF'));
  const bytes = fc
    .array(fc.oneof({ weight: 60, arbitrary: digit }, { weight: 1, arbitrary: fc.nat(255) }), {
      maxLength: 80,
    })
    .map((codes) => Uint8Array.from(codes));
  let hex = 0;
  fc.assert(
    fc.property(bytes, fc.nat(7), (text, start) => {
      const expected = /^([0-9a-f]{2})*$/i.test(Buffer.from(text).toString('latin1'));
      if (expected) hex += 1;
      return check(text, start) === expected;
    }),
    { numRuns: 3000 },
  );
  t.ok(hex > 100);
});

void test('the empty text is hex, an odd number of digits is not', async (t) => {
  t.ok(check(new Uint8Array(0)));
  t.notOk(check(Buffer.from('a')));
  t.notOk(check(Buffer.from('abc')));
  t.notOk(check(Buffer.from('0123456789abcdef0')));
});

void test('hex is the same in both cases', async (t) => {
  const bytes = Buffer.from('00aBFfAbfF00aCff');
  t.ok(sameHex(bytes, 2, 4, 6, 4));
  t.notOk(sameHex(bytes, 2, 4, 12, 4));
  t.notOk(sameHex(bytes, 2, 4, 6, 2));
});
