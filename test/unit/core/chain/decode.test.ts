import { deepStrictEqual } from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import { decodeTick } from '../../../../src/core/chain/decode.ts';
import { WireError } from '../../../../src/core/chain/wire-error.ts';
import { encodeTick } from '../../../../src/core/chain/encode.ts';
import { anyTick, plainTick, TickType } from './protobufjs.ts';

void test('reads what protobuf.js has encoded', async (t) => {
  fc.assert(
    fc.property(anyTick, (tick) => {
      const bytes = TickType.encode(TickType.fromObject(plainTick(tick))).finish();
      deepStrictEqual(plainTick(decodeTick(bytes)), plainTick(tick));
    }),
    { numRuns: 300 },
  );
  t.pass('held');
});

void test('reads what encodeTick has written, also from the middle of a larger buffer', async (t) => {
  fc.assert(
    fc.property(anyTick, fc.nat(20), (tick, offset) => {
      const bytes = encodeTick(tick);
      const larger = new Uint8Array(bytes.length + offset + 3).fill(0xff);
      larger.set(bytes, offset);
      deepStrictEqual(plainTick(decodeTick(larger.subarray(offset, offset + bytes.length))), plainTick(tick));
    }),
    { numRuns: 100 },
  );
  t.pass('held');
});

/** Bytes of a field: tag, and length when it is delimited. */
const field = (number: number, wireType: number, ...content: number[]): number[] => {
  const tag = number * 8 + wireType;
  const tagBytes = tag < 128 ? [tag] : [(tag & 127) | 128, tag >> 7];
  return wireType === 2 ? [...tagBytes, content.length, ...content] : [...tagBytes, ...content];
};
const decode = (...bytes: number[]): ReturnType<typeof decodeTick> => decodeTick(Uint8Array.from(bytes));

void test('unknown fields and groups of every wire type are skipped, wherever they stand', async (t) => {
  const unknown = fc.oneof(
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((value) => field(100, 0, ...varint(value))),
    fc.uint8Array({ minLength: 8, maxLength: 8 }).map((bytes) => field(101, 1, ...bytes)),
    fc.uint8Array({ maxLength: 100 }).map((bytes) => field(102, 2, ...bytes)),
    fc.uint8Array({ minLength: 4, maxLength: 4 }).map((bytes) => field(103, 5, ...bytes)),
    fc.constant([
      ...field(104, 3),
      ...field(1, 0, 9),
      ...field(105, 3),
      ...field(105, 4),
      ...field(6, 2, 1),
      ...field(104, 4),
    ]),
    // known numbers with another wire type are unknown fields
    fc.constantFrom(
      field(1, 2, 1, 2),
      field(4, 0, 5),
      field(2, 5, 1, 2, 3, 4),
      field(3, 1, 1, 2, 3, 4, 5, 6, 7, 8),
    ),
  );
  const tick = { ...decode(), tickNumber: 5n, previousOutput: 'ab', timestamp: 300n };
  const known = [field(1, 0, 5), field(6, 2, 0x61, 0x62), field(5, 0, 0xac, 2)];
  fc.assert(
    fc.property(
      fc.shuffledSubarray(known, { minLength: 3 }),
      fc.array(unknown, { maxLength: 6 }),
      (fields, extra) => {
        const mixed = fields.flatMap((one, i) => [
          ...(extra[2 * i] ?? []),
          ...one,
          ...(extra[2 * i + 1] ?? []),
        ]);
        deepStrictEqual(decode(...mixed), tick);
      },
    ),
  );
  t.pass('held');
});

void test('the last of repeated scalars wins, embedded messages are merged', async (t) => {
  t.equal(decode(...field(1, 0, 5), ...field(1, 0, 6)).tickNumber, 6n);
  t.equal(decode(...field(4, 2, 0x61), ...field(4, 2)).transactionBatchHash, '', 'also by an empty one');
  const proof = decode(
    ...field(2, 2, ...field(1, 2, 0x61), ...field(4, 0, 1)),
    ...field(2, 2, ...field(4, 0, 2)),
  );
  t.strictSame(proof.vdfProof, { input: 'a', output: '', proof: '', iterations: 2n });
  const inner = [...field(1, 2, ...field(1, 2, 0x61)), ...field(1, 2, ...field(2, 2, 0x62))];
  const merged = decode(...field(3, 2, ...inner), ...field(3, 2, ...field(2, 0, 7)));
  t.equal(merged.transactions.length, 2, 'repeated ones are not');
  t.equal(Buffer.from(merged.transactions[0].transaction.txId).toString(), 'a');
  t.equal(Buffer.from(merged.transactions[0].transaction.payload).toString(), 'b');
  t.equal(merged.transactions[1].sequenceNumber, 7n);
});

void test('numbers may be written with more bytes than they need', async (t) => {
  t.equal(decode(0x88, 0x80, 0, 0x85, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0).tickNumber, 5n);
});

void test('text that is no UTF-8 shows U+FFFD, tx_id stays bytes', async (t) => {
  t.equal(decode(...field(4, 2, 0x61, 0xff)).transactionBatchHash, 'a\ufffd');
  t.equal(
    decode(...field(4, 2, 0xef, 0xbb, 0xbf, 0x61)).transactionBatchHash,
    '\ufeffa',
    'a byte order mark is text',
  );
  const { transactions } = decode(...field(3, 2, ...field(1, 2, ...field(1, 2, 0xff, 0))));
  t.strictSame([...transactions[0].transaction.txId], [0xff, 0]);
});

void test('what is no message is refused with the place', async (t) => {
  const bad: [number[], number, RegExp][] = [
    [[8], 1, /ends inside a varint/],
    [[8, 0x80], 1, /ends inside a varint/],
    [[8, ...Array<number>(9).fill(0xff), 2], 1, /more than 64 bits/],
    [[8, 1, 0, 0], 2, /field number/],
    [[0x80, 0x80, 0x80, 0x80, 0x80, 1], 0, /field number/],
    [[0x7e], 0, /wire type 6/],
    [[8, 1, 0x7f], 2, /wire type 7/],
    [[0x22, 5, 1, 2], 1, /beyond the end/],
    [[0x22, ...varint(2n ** 40n)], 1, /beyond the end/],
    [[0x12, 3, 0x0a, 2, 1, 8, 1], 3, /beyond the end/],
    [[0x29, 1, 2, 3, 4, 5, 6, 7], 0, /ends inside a field/],
    [[0x7d, 1, 2, 3], 0, /ends inside a field/],
    [[0x7b, 8, 1], 0, /ends inside a group/],
    [[0x7b, 0x74], 1, /the end of another group/],
    [[8, 1, 0x7c], 2, /not begun/],
    [Array<number>(101).fill(0x7b), 100, /too deep/],
    // tags and lengths of more bytes than one
    [[8, 1, 0xff, 0x80, 0], 2, /wire type 7/],
    [[8, 1, 0xa9, 6, 1, 2], 2, /ends inside a field/],
    [[0xb2, 6, 0x85, 0x80, 0, 1], 2, /a length of 5 bytes/],
    [[0xc3, 6, 8, 1], 0, /ends inside a group/],
    [[0x7b, 0xac, 6], 1, /the end of another group/],
    [[8, 1, 0x80, 0], 2, /field number/],
    // the first of two
    [[0x1a, 1, 0x7f, 0x7f], 2, /wire type 7/],
  ];
  for (const [bytes, offset, message] of bad) {
    t.throws(
      () => decode(...bytes),
      { name: 'WireError', offset, message },
      Buffer.from(bytes).toString('hex'),
    );
  }
});

void test('any bytes at all are a tick or a WireError', async (t) => {
  let ticks = 0;
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ maxLength: 60 }),
        // whole ticks with a byte changed or the end missing
        fc.tuple(anyTick, fc.nat(), fc.integer({ min: 0, max: 255 })).map(([tick, at, byte]) => {
          const bytes = encodeTick(tick);
          bytes[at % bytes.length] = byte;
          return bytes;
        }),
        fc.tuple(anyTick, fc.nat()).map(([tick, end]) => encodeTick(tick).subarray(0, end % 400)),
      ),
      (bytes) => {
        try {
          decodeTick(bytes);
          ticks += 1;
        } catch (error) {
          if (!(error instanceof WireError)) throw error;
          return error.offset >= 0 && error.offset <= bytes.length;
        }
        return true;
      },
    ),
    { numRuns: 3000 },
  );
  t.ok(ticks > 100, 'of both kinds');
});

function varint(value: bigint): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return [...bytes, Number(rest)];
}
