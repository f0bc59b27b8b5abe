import { deepStrictEqual } from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import { encodeTick, WireWriter } from '../../../../src/core/chain/encode.ts';
import { anyTick, plainTick, TickType } from './protobufjs.ts';
import type { Tick } from '../../../../src/core/chain/tick.ts';

const NONE = new Uint8Array(0);
const EMPTY: Tick = {
  tickNumber: 0n,
  vdfProof: { input: '', output: '', proof: '', iterations: 0n },
  transactions: [],
  transactionBatchHash: '',
  timestamp: 0n,
  previousOutput: '',
};

void test('protobuf.js reads back what was encoded', async (t) => {
  fc.assert(
    fc.property(anyTick, (tick) => {
      const message = TickType.decode(Buffer.from(encodeTick(tick)));
      deepStrictEqual(
        TickType.toObject(message, { longs: String, bytes: Buffer, defaults: true, arrays: true }),
        plainTick(tick),
      );
    }),
    { numRuns: 300 },
  );
  t.pass('held');
});

void test('protobuf.js encodes the same bytes', async (t) => {
  fc.assert(
    fc.property(anyTick, (tick) => {
      const canonical = TickType.encode(TickType.fromObject(withoutDefaults(plainTick(tick)))).finish();
      return Buffer.from(encodeTick(tick)).equals(canonical);
    }),
    { numRuns: 300 },
  );
  t.pass('held');
});

void test('default values take no room', async (t) => {
  t.strictSame([...encodeTick(EMPTY)], [0x12, 0], 'an empty tick is its empty vdf_proof');
  const transaction = {
    txId: NONE,
    payload: NONE,
    signature: NONE,
    publicKey: NONE,
    nonce: 0n,
    timestamp: 0n,
  };
  const tick = {
    ...EMPTY,
    transactions: [{ transaction, sequenceNumber: 0n, txHash: '', ingestionTimestamp: 0n }],
  };
  t.strictSame([...encodeTick(tick)], [0x12, 0, 0x1a, 2, 0x0a, 0]);
});

void test('the largest u64 has ten bytes, and what is none is refused', async (t) => {
  const bytes = encodeTick({ ...EMPTY, tickNumber: 2n ** 64n - 1n });
  t.equal(Buffer.from(bytes).toString('hex'), '08ffffffffffffffffff011200');
  t.throws(() => encodeTick({ ...EMPTY, tickNumber: 2n ** 64n }), RangeError);
  t.throws(() => encodeTick({ ...EMPTY, timestamp: -1n }), RangeError);
});

void test('a writer grows, and messages of any length nest', async (t) => {
  for (const byteLength of [0, 1, 127, 128, 16_383, 16_384, 300_000]) {
    const writer = new WireWriter(1);
    writer.message(1, () => writer.message(2, () => writer.bytes(3, new Uint8Array(byteLength).fill(7))));
    const length = (value: number): number[] => [...varint(value)];
    const inner =
      byteLength === 0 ? [] : [0x1a, ...length(byteLength), ...new Uint8Array(byteLength).fill(7)];
    const middle = [0x12, ...length(inner.length), ...inner];
    const expected = Buffer.from([0x0a, ...length(middle.length), ...middle]);
    t.ok(expected.equals(writer.finish()), `${byteLength} bytes`);
  }
});

void test('doubles and booleans, whose defaults are left out too', async (t) => {
  const writer = new WireWriter();
  writer.double(5, 0);
  writer.bool(2, false);
  t.equal(writer.finish().length, 0);
  writer.double(5, 1.5);
  writer.bool(2, true);
  t.equal(Buffer.from(writer.finish()).toString('hex'), '29000000000000f83f1001');
});

function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127; rest >>>= 7) bytes.push((rest & 127) | 128);
  return Uint8Array.from([...bytes, rest]);
}

/** proto3 writers leave defaults out; protobuf.js writes whatever an object holds. */
function withoutDefaults(value: object): object {
  const kept = Object.entries(value).flatMap(([name, field]): [string, unknown][] => {
    if (field === '' || field === '0' || (Buffer.isBuffer(field) && field.length === 0)) return [];
    if (Buffer.isBuffer(field) || typeof field !== 'object') return [[name, field]];
    return [
      [
        name,
        Array.isArray(field)
          ? field.map((item: object) => withoutDefaults(item))
          : withoutDefaults(field as object),
      ],
    ];
  });
  return Object.fromEntries(kept);
}
