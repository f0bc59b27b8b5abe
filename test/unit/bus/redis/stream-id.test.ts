import fc from 'fast-check';
import { test } from 'tap';
import {
  BEGINNING,
  comparePositions,
  LAST_POSITION,
  lowerPosition,
  positionAfter,
  positionBefore,
  positionMs,
} from '../../../../src/bus/redis/stream-id.ts';

const U64_MAX = 2n ** 64n - 1n;
const u64 = fc.oneof(
  fc.bigInt({ min: 0n, max: U64_MAX }),
  fc.constantFrom(0n, 1n, 9n, 10n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 63n, U64_MAX),
);
const position = fc.tuple(u64, u64);
const text = ([ms, sequence]: [bigint, bigint]): string => `${ms}-${sequence}`;
const value = ([ms, sequence]: [bigint, bigint]): bigint => ms * 2n ** 64n + sequence;

void test('the order of ids is that of their numbers, over the whole of u64', async () => {
  fc.assert(
    fc.property(position, position, (a, b) => {
      const difference = value(a) - value(b);
      const sign = difference === 0n ? 0 : difference < 0n ? -1 : 1;
      return Math.sign(comparePositions(text(a), text(b))) === sign;
    }),
    { numRuns: 2000 },
  );
});

void test('before and after are the neighbours', async () => {
  fc.assert(
    fc.property(position, (a) => {
      const next = value(a) + 1n;
      const after = positionAfter(text(a));
      if (next >= 2n ** 128n) return true;
      const expected = `${next / 2n ** 64n}-${next % 2n ** 64n}`;
      return after === expected && positionBefore(after) === text(a);
    }),
    { numRuns: 1000 },
  );
});

void test('edges', async (t) => {
  t.equal(positionBefore(BEGINNING), BEGINNING);
  t.equal(positionAfter(BEGINNING), '0-1');
  t.equal(positionBefore('5-0'), '4-18446744073709551615');
  t.equal(positionAfter('4-18446744073709551615'), '5-0');
  const highest = '18446744073709551615-18446744073709551615';
  t.equal(positionAfter(LAST_POSITION), highest);
  t.equal(positionAfter(highest), highest, 'there is none above it');
  t.equal(positionMs('1755945303178-12'), 1_755_945_303_178);
  t.equal(comparePositions('5', '5-0'), 0, 'a short id is its first one');
  t.equal(lowerPosition('10-0', '9-0'), '9-0');
});
