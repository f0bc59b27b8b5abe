import * as fc from 'fast-check';
import { test } from 'tap';
import { hiWord, joinWords, loWord, u64At } from '../../../../src/core/chain/u64.ts';

const U64_MAX = 2n ** 64n - 1n;

void test('a u64 is the same from its words, wherever they stand', async (t) => {
  fc.assert(
    fc.property(fc.bigInt(0n, U64_MAX), (value) => {
      const words = Uint32Array.of(7, hiWord(value), loWord(value), 7);
      return joinWords(words[1], words[2]) === value && u64At(words, 1) === value;
    }),
  );
  t.equal(joinWords(0xffff_ffff, 0xffff_ffff), U64_MAX);
});
