import { isUtf8 } from 'node:buffer';
import * as fc from 'fast-check';
import { test } from 'tap';
import { isText } from '../../../../../src/core/copy/types/text.ts';

/** what the platform says, and no NUL */
function expected(bytes: Uint8Array): boolean {
  return isUtf8(bytes) && !bytes.includes(0);
}

function check(bytes: Uint8Array): boolean {
  const padded = Buffer.concat([Buffer.of(0xe2, 0x82), bytes, Buffer.of(0x82, 0xac)]);
  const view = new DataView(padded.buffer, padded.byteOffset, padded.length);
  return isText(view, 2, bytes.length);
}

void test('every sequence of one and two bytes, and the edges of three and four', async (t) => {
  let valid = 0;
  const verify = (...bytes: number[]) => {
    const sequence = Uint8Array.from(bytes);
    if (check(sequence) !== expected(sequence)) t.fail(`bytes ${Buffer.from(bytes).toString('hex')}`);
    if (expected(sequence)) valid += 1;
  };
  const edges = [0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff];
  for (let first = 0; first < 256; first++) {
    verify(first);
    for (let second = 0; second < 256; second++) verify(first, second);
    for (const second of edges) {
      for (const third of edges) {
        verify(first, second, third);
        for (const fourth of edges) verify(first, second, third, fourth);
      }
    }
  }
  t.ok(valid > 16_000);
  t.ok(check(new Uint8Array(0)));
});

void test('any bytes, hostile or not, as the platform decodes them', async (t) => {
  const piece = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 12 }).map((text) => Buffer.from(text)),
    fc.string({ maxLength: 12 }).map((text) => Buffer.from(text)),
    fc.constantFrom(Buffer.of(0), Buffer.of(0xed, 0xa0, 0x80), Buffer.of(0xc0, 0x80), Buffer.of(0xf5)),
    fc.uint8Array({ maxLength: 3 }),
  );
  const seen = new Set<boolean>();
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 5 }), (pieces) => {
      const bytes = Buffer.concat(pieces);
      seen.add(expected(bytes));
      return check(bytes) === expected(bytes);
    }),
    { numRuns: 5000 },
  );
  t.equal(seen.size, 2);
});
