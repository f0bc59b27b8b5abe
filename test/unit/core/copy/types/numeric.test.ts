import * as fc from 'fast-check';
import { test } from 'tap';
import { NUMERIC_U64_BYTES_MAX, writeNumericU64 } from '../../../../../src/core/copy/types/numeric.ts';
import { U64_MAX } from '../frames.ts';
import { decodeNumeric } from '../pgcopy.ts';

function encode(value: bigint): Buffer {
  const bytes = Buffer.alloc(NUMERIC_U64_BYTES_MAX + 3, 0xff);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const end = writeNumericU64(view, 3, Number(value >> 32n), Number(value & 0xffff_ffffn));
  return bytes.subarray(3, end);
}

void test('numbers around each power of ten and of two', async (t) => {
  const powers = [
    ...Array.from({ length: 20 }, (_, i) => 10n ** BigInt(i)),
    ...Array.from({ length: 64 }, (_, i) => 2n ** BigInt(i)),
    U64_MAX,
  ];
  for (const power of powers) {
    for (const value of [power - 1n, power, power + 1n]) {
      if (value <= U64_MAX && decodeNumeric(encode(value)) !== value) t.fail(String(value));
    }
  }
  t.equal(encode(U64_MAX).length, NUMERIC_U64_BYTES_MAX);
  t.equal(encode(0n).toString('hex'), '0000000000000000');
  t.equal(encode(10_000n).toString('hex'), '00010001000000000001');
});

void test('any u64, as BigInt has it', async (t) => {
  let zerosAtTheEnd = 0;
  fc.assert(
    fc.property(fc.bigInt(0n, U64_MAX), fc.nat(19), (value, digits) => {
      const round = value - (value % 10n ** BigInt(digits));
      if (round !== 0n && round % 10_000n === 0n) zerosAtTheEnd += 1;
      return decodeNumeric(encode(round)) === round && decodeNumeric(encode(value)) === value;
    }),
    { numRuns: 5000 },
  );
  t.ok(zerosAtTheEnd > 0);
});
