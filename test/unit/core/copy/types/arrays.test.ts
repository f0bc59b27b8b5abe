import { test } from 'tap';
import fc from 'fast-check';
import { byteaArray, int2Array, textArray } from '../../../../../src/core/copy/types/arrays.ts';

/** array_recv of PostgreSQL, for one dimension. */
function read(bytes: Buffer): { oid: number; elements: (Buffer | null)[] } {
  const dimensions = bytes.readInt32BE(0);
  const oid = bytes.readInt32BE(8);
  if (dimensions === 0) return { oid, elements: bytes.length === 12 ? [] : [Buffer.from('trailing bytes')] };
  const length = bytes.readInt32BE(12);
  const elements: (Buffer | null)[] = [];
  let at = 20;
  for (let nth = 0; nth < length; nth++) {
    const size = bytes.readInt32BE(at);
    at += 4;
    elements.push(size === -1 ? null : bytes.subarray(at, at + size));
    at += Math.max(0, size);
  }
  if (dimensions !== 1 || bytes.readInt32BE(16) !== 1 || at !== bytes.length) throw new Error('not an array');
  return { oid, elements };
}

void test('text[] holds every string and null', async (t) => {
  const string = fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' }));
  fc.assert(
    fc.property(fc.array(fc.option(string)), (values) => {
      const { oid, elements } = read(textArray(values));
      return (
        oid === 25 &&
        elements.length === values.length &&
        elements.every((element, at) => (element?.toString() ?? null) === values[at])
      );
    }),
  );
  t.pass('for all');
});

void test('bytea[] and smallint[] hold every value', async (t) => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 300 })), (values) => {
      const { oid, elements } = read(byteaArray(values));
      return (
        oid === 17 &&
        elements.length === values.length &&
        values.every((value, at) => elements[at]!.equals(value))
      );
    }),
  );
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -32_768, max: 32_767 })), (values) => {
      const { oid, elements } = read(int2Array(values));
      return (
        oid === 21 &&
        elements.length === values.length &&
        values.every((value, at) => elements[at]!.readInt16BE() === value)
      );
    }),
  );
  t.pass('for all');
});
