import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { test } from 'tap';
import {
  ORDERED_HASH,
  ORDERED_INGESTION,
  ORDERED_SEQUENCE,
  PROOF_INPUT,
  PROOF_ITERATIONS,
  PROOF_OUTPUT,
  PROOF_PROOF,
  scanTickNumber,
  TICK_BATCH_HASH,
  TICK_NUMBER,
  TICK_PREVIOUS_OUTPUT,
  TICK_TIMESTAMP,
  tickOfAnswer,
  TickWire,
  TRANSACTION_ID,
  TRANSACTION_NONCE,
  TRANSACTION_PAYLOAD,
  TRANSACTION_PUBLIC_KEY,
  TRANSACTION_SIGNATURE,
  TRANSACTION_TIMESTAMP,
} from '../../../../src/core/chain/wire.ts';
import { wireStatusText } from '../../../../src/core/chain/wire-error.ts';
import { message, oracleDecode, run, tag, tickFrame, u64, U64_MAX, varint } from '../copy/frames.ts';

const VARINT_TOO_LONG = 1;
const TRUNCATED = 2;
const BAD_FIELD_NUMBER = 3;
const BAD_WIRE_TYPE = 4;
const UNMATCHED_GROUP = 5;
const GROUP_TOO_DEEP = 6;

/** The scan of a frame that lies between other bytes, which would all continue a varint. */
function scan(frame: Uint8Array): { status: number; number: bigint } {
  const bytes = new Uint8Array(frame.length + 20).fill(0xff);
  bytes.set(frame, 10);
  const out = new Uint32Array(2);
  const status = scanTickNumber(bytes, 10, 10 + frame.length, out);
  return { status, number: (BigInt(out[0]) << 32n) | BigInt(out[1]) };
}

const anyU64 = fc.oneof(
  fc.bigInt(0n, U64_MAX),
  fc.nat(70).chain((bits) => fc.bigInt(-3n, 3n).map((d) => BigInt.asUintN(64, 2n ** BigInt(bits) + d))),
);

const scalarField = fc.oneof(
  fc.tuple(fc.integer({ min: 7, max: 2 ** 29 - 1 }), anyU64).map(([field, value]) => u64(field, value)),
  fc
    .integer({ min: 7, max: 2 ** 29 - 1 })
    .map((field) => Buffer.concat([tag(field, 1), Buffer.alloc(8, 0xff)])),
  fc
    .integer({ min: 7, max: 2 ** 29 - 1 })
    .map((field) => Buffer.concat([tag(field, 5), Buffer.alloc(4, 0xff)])),
  fc
    .tuple(fc.integer({ min: 7, max: 5000 }), fc.uint8Array({ maxLength: 200 }))
    .map(([field, bytes]) => run(field, bytes)),
);

/** any field that the proto does not name, groups within groups among them */
const unknownField: fc.Arbitrary<Buffer> = fc.letrec<{ field: Buffer }>((tie) => ({
  field: fc.oneof(
    { maxDepth: 3 },
    scalarField,
    fc
      .tuple(fc.integer({ min: 7, max: 5000 }), fc.array(tie('field'), { maxLength: 3 }))
      .map(([field, inner]) => Buffer.concat([tag(field, 3), ...inner, tag(field, 4)])),
  ),
})).field;

const text = fc.uint8Array({ maxLength: 300 });

const transactionFields = fc
  .array(
    fc.oneof(
      fc.tuple(fc.integer({ min: 1, max: 4 }), text).map(([field, bytes]) => run(field, bytes)),
      fc.tuple(fc.integer({ min: 5, max: 6 }), anyU64).map(([field, value]) => u64(field, value)),
      unknownField,
    ),
    { maxLength: 9 },
  )
  .map((fields) => Buffer.concat(fields));

const orderedFields = fc
  .tuple(
    fc.option(transactionFields.map((fields) => run(1, fields))),
    fc.array(
      fc.oneof(
        anyU64.map((value) => u64(2, value)),
        text.map((bytes) => run(3, bytes)),
        anyU64.map((value) => u64(4, value)),
        unknownField,
      ),
      { maxLength: 6 },
    ),
    fc.nat(6),
  )
  .map(([transaction, fields, at]) =>
    fields.toSpliced(at, 0, ...(transaction === null ? [] : [transaction])),
  );

const proofFields = fc.array(
  fc.oneof(
    fc.tuple(fc.integer({ min: 1, max: 3 }), text).map(([field, bytes]) => run(field, bytes)),
    anyU64.map((value) => u64(4, value)),
    unknownField,
  ),
  { maxLength: 6 },
);

/** Fields of a tick in any order, each any number of times; vdf_proof once, as protobufjs does not merge it. */
const tickFields = fc
  .tuple(
    fc.array(
      fc.oneof(
        anyU64.map((value) => u64(1, value)),
        orderedFields.map((fields) => message(3, ...fields)),
        text.map((bytes) => run(4, bytes)),
        anyU64.map((value) => u64(5, value)),
        text.map((bytes) => run(6, bytes)),
        unknownField,
      ),
      { maxLength: 12 },
    ),
    fc.option(proofFields.map((fields) => message(2, ...fields))),
    fc.nat(12),
  )
  .map(([fields, proof, at]) => fields.toSpliced(at, 0, ...(proof === null ? [] : [proof])));

function word64(slots: Uint32Array, slot: number): string {
  return ((BigInt(slots[slot]) << 32n) | BigInt(slots[slot + 1])).toString();
}

function bytesAt(bytes: Uint8Array, slots: Uint32Array, slot: number): Buffer {
  return Buffer.from(bytes.subarray(slots[slot], slots[slot] + slots[slot + 1]));
}

/** A frame as the wire reader sees it, in the shape of the oracle; null when it is malformed. */
function read(wire: TickWire, bytes: Uint8Array, start: number, end: number) {
  if (wire.readTick(bytes, start, end) !== 0) return null;
  const { tick, transaction } = wire;
  const transactions = [];
  for (let i = 0; i < wire.transactionCount; i++) {
    if (wire.readTransaction(bytes, i) !== 0) return null;
    transactions.push({
      transaction: {
        tx_id: bytesAt(bytes, transaction, TRANSACTION_ID),
        payload: bytesAt(bytes, transaction, TRANSACTION_PAYLOAD),
        signature: bytesAt(bytes, transaction, TRANSACTION_SIGNATURE),
        public_key: bytesAt(bytes, transaction, TRANSACTION_PUBLIC_KEY),
        nonce: word64(transaction, TRANSACTION_NONCE),
        timestamp: word64(transaction, TRANSACTION_TIMESTAMP),
      },
      sequence_number: word64(transaction, ORDERED_SEQUENCE),
      tx_hash: bytesAt(bytes, transaction, ORDERED_HASH),
      ingestion_timestamp: word64(transaction, ORDERED_INGESTION),
    });
  }
  return {
    tick_number: word64(tick, TICK_NUMBER),
    vdf_proof: {
      input: bytesAt(bytes, tick, PROOF_INPUT),
      output: bytesAt(bytes, tick, PROOF_OUTPUT),
      proof: bytesAt(bytes, tick, PROOF_PROOF),
      iterations: word64(tick, PROOF_ITERATIONS),
    },
    transactions,
    transaction_batch_hash: bytesAt(bytes, tick, TICK_BATCH_HASH),
    timestamp: word64(tick, TICK_TIMESTAMP),
    previous_output: bytesAt(bytes, tick, TICK_PREVIOUS_OUTPUT),
  };
}

const EMPTY = Buffer.alloc(0);
const NO_TRANSACTION = {
  tx_id: EMPTY,
  payload: EMPTY,
  signature: EMPTY,
  public_key: EMPTY,
  nonce: '0',
  timestamp: '0',
};
const NO_PROOF = { input: EMPTY, output: EMPTY, proof: EMPTY, iterations: '0' };

/** protobufjs's view of a frame, absent messages as their defaults */
function expected(frame: Uint8Array) {
  const tick = oracleDecode(frame);
  return {
    ...tick,
    vdf_proof: tick.vdf_proof ?? NO_PROOF,
    transactions: tick.transactions.map((ordered) => ({
      ...ordered,
      transaction: ordered.transaction ?? NO_TRANSACTION,
    })),
  };
}

void test('the scan finds the number over the whole of u64, wherever it stands', async (t) => {
  for (const number of [
    0n,
    1n,
    127n,
    128n,
    2n ** 32n - 1n,
    2n ** 32n,
    2n ** 53n - 1n,
    2n ** 53n,
    2n ** 53n + 1n,
  ]) {
    t.strictSame(scan(u64(1, number)), { status: 0, number });
  }
  for (const number of [2n ** 63n - 1n, 2n ** 63n, U64_MAX])
    t.strictSame(scan(u64(1, number)), { status: 0, number });
  fc.assert(
    fc.property(tickFields, (fields) => {
      const frame = Buffer.concat(fields);
      const { status, number } = scan(frame);
      return status === 0 && number.toString() === oracleDecode(frame).tick_number;
    }),
    { numRuns: 500 },
  );
});

void test('a frame without a number is tick 0, and so is an empty one', async (t) => {
  t.strictSame(scan(u64(5, 12n)), { status: 0, number: 0n });
  t.strictSame(scan(EMPTY), { status: 0, number: 0n });
});

void test('the scan does not look into messages', async (t) => {
  const broken = Buffer.of(0x00, 0xff);
  t.strictSame(scan(Buffer.concat([u64(1, 9n), run(2, broken), run(3, broken)])), { status: 0, number: 9n });
});

void test('a frame cut anywhere but between two top-level fields is truncated', async (t) => {
  let truncated = 0;
  fc.assert(
    fc.property(tickFields, (fields) => {
      const frame = Buffer.concat(fields);
      const ends = new Set([0]);
      fields.reduce((end, field) => {
        ends.add(end + field.length);
        return end + field.length;
      }, 0);
      for (let length = 0; length < frame.length; length++) {
        const { status } = scan(frame.subarray(0, length));
        if (status !== (ends.has(length) ? 0 : TRUNCATED)) return false;
        if (status === TRUNCATED) truncated += 1;
      }
      return true;
    }),
    { numRuns: 60 },
  );
  t.ok(truncated > 1000);
});

function overlong(value: number, size: number): Buffer {
  return Buffer.from([value | 0x80, ...Array.from({ length: size - 2 }, () => 0x80), 0]);
}

void test('varints: overlong forms are read, more than ten bytes or more than 64 bits are malformed', async (t) => {
  for (let size = 2; size <= 10; size++) {
    t.strictSame(
      scan(Buffer.concat([tag(1, 0), overlong(5, size)])),
      { status: 0, number: 5n },
      `${size} bytes`,
    );
    t.strictSame(
      scan(Buffer.concat([overlong(8, size), varint(6n)])),
      { status: 0, number: 6n },
      `a tag of ${size} bytes`,
    );
    const length = scan(Buffer.concat([tag(9, 2), overlong(2, size), Buffer.of(1, 2), u64(1, 7n)]));
    t.strictSame(length, { status: 0, number: 7n }, `a length of ${size} bytes`);
  }
  t.equal(scan(Buffer.concat([tag(1, 0), overlong(5, 11)])).status, VARINT_TOO_LONG);
  const nine = Array.from({ length: 9 }, () => 0xff);
  t.strictSame(scan(Buffer.from([8, ...nine, 1])), { status: 0, number: U64_MAX });
  t.equal(scan(Buffer.from([8, ...nine, 2])).status, VARINT_TOO_LONG, 'a 65th bit');
  t.equal(scan(Buffer.from([8, ...nine, 0x81, 0])).status, VARINT_TOO_LONG, 'an eleventh byte');
});

void test('tags: field number 0, numbers above 2^29-1 and the wire types 6 and 7 are malformed', async (t) => {
  t.equal(scan(Buffer.of(0x00)).status, BAD_FIELD_NUMBER);
  t.equal(scan(Buffer.of(0x02, 0x00)).status, BAD_FIELD_NUMBER);
  t.equal(scan(Buffer.concat([varint(2n ** 32n), varint(0n)])).status, BAD_FIELD_NUMBER);
  t.equal(scan(u64(2 ** 29 - 1, 1n)).status, 0);
  t.equal(scan(tag(9, 6)).status, BAD_WIRE_TYPE);
  t.equal(scan(tag(9, 7)).status, BAD_WIRE_TYPE);
  t.equal(scan(Buffer.concat([tag(9, 3), tag(9, 6), tag(9, 4)])).status, BAD_WIRE_TYPE);
  t.equal(scan(Buffer.concat([tag(9, 3), Buffer.of(0), tag(9, 4)])).status, BAD_FIELD_NUMBER);
});

void test('lengths beyond the end are truncated, also the largest there are', async (t) => {
  for (const length of [4n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 32n, U64_MAX]) {
    for (const field of [2, 4, 9]) {
      t.equal(scan(Buffer.concat([tag(field, 2), varint(length), Buffer.alloc(3)])).status, TRUNCATED);
    }
    const inGroup = Buffer.concat([tag(8, 3), tag(9, 2), varint(length), Buffer.alloc(3)]);
    t.equal(scan(inGroup).status, TRUNCATED);
  }
});

/** groups within groups, then tick 3 */
function nested(depth: number): Buffer {
  return Buffer.concat([
    ...Array.from({ length: depth }, (_, i) => tag(i + 7, 3)),
    ...Array.from({ length: depth }, (_, i) => tag(depth + 6 - i, 4)),
    u64(1, 3n),
  ]);
}

void test('groups end with their own number and nest 100 deep', async (t) => {
  t.equal(scan(tag(9, 4)).status, UNMATCHED_GROUP);
  t.equal(scan(Buffer.concat([tag(9, 3), tag(10, 4)])).status, UNMATCHED_GROUP);
  t.equal(scan(Buffer.concat([tag(9, 3), tag(10, 3), tag(9, 4), tag(10, 4)])).status, UNMATCHED_GROUP);
  t.equal(scan(tag(9, 3)).status, TRUNCATED);
  t.strictSame(scan(nested(100)), { status: 0, number: 3n });
  t.equal(scan(nested(101)).status, GROUP_TOO_DEEP);
});

void test('a tick is read as protobufjs reads it: any order, unknown fields, repeated scalars', async (t) => {
  const wire = new TickWire();
  let transactions = 0;
  fc.assert(
    fc.property(tickFields, (fields) => {
      const frame = Buffer.concat(fields);
      const memory = new Uint8Array(new SharedArrayBuffer(frame.length + 20)).fill(0xff);
      memory.set(frame, 7);
      assert.deepEqual(read(wire, memory, 7, 7 + frame.length), expected(frame));
      transactions += wire.transactionCount;
    }),
    { numRuns: 400 },
  );
  t.ok(transactions > 100);
});

void test('embedded messages that repeat are merged', async (t) => {
  const wire = new TickWire();
  const merged = Buffer.concat([
    message(2, run(1, 'aa'), u64(4, 5n)),
    message(3, message(1, run(1, 'id'), u64(5, 7n)), u64(2, 1n), message(1, run(2, 'payload'), u64(5, 8n))),
    message(2, run(2, 'bb'), u64(4, 6n)),
  ]);
  const once = Buffer.concat([
    message(2, run(1, 'aa'), run(2, 'bb'), u64(4, 6n)),
    message(3, message(1, run(1, 'id'), run(2, 'payload'), u64(5, 8n)), u64(2, 1n)),
  ]);
  t.strictSame(read(wire, merged, 0, merged.length), expected(once));
});

void test('a known field with another wire type is unknown', async (t) => {
  const wire = new TickWire();
  const good = tickFrame(5n, { transactions: [{}] });
  const strange = Buffer.concat([
    run(1, 'number'),
    u64(2, 3n),
    u64(3, 3n),
    u64(4, 3n),
    run(5, 'time'),
    Buffer.concat([tag(6, 5), Buffer.alloc(4)]),
    Buffer.concat([tag(1, 1), Buffer.alloc(8)]),
    Buffer.concat([tag(3, 3), tag(3, 4)]),
  ]);
  for (const frame of [Buffer.concat([strange, good]), Buffer.concat([good, strange])]) {
    t.strictSame(read(wire, frame, 0, frame.length), expected(good));
  }
  t.strictSame(scan(Buffer.concat([u64(1, 5n), run(1, 'number')])), { status: 0, number: 5n });
});

void test('nothing of the frame before is left in the slots', async (t) => {
  const wire = new TickWire();
  const full = tickFrame(5n, { transactions: [{}, {}] });
  t.strictSame(read(wire, full, 0, full.length), expected(full));
  t.strictSame(read(wire, EMPTY, 0, 0), expected(EMPTY));
  const bare = message(3);
  t.strictSame(read(wire, bare, 0, bare.length), expected(bare));
});

void test('a message that is malformed inside is found by the reader that looks inside', async (t) => {
  const wire = new TickWire();
  const proof = Buffer.concat([u64(1, 1n), run(2, Buffer.of(0x0a, 9, 1))]);
  t.equal(wire.readTick(proof, 0, proof.length), TRUNCATED, 'a field must end within its message');
  const transactions = Buffer.concat([message(3, run(1, Buffer.of(0x00))), message(3, tag(3, 7))]);
  t.equal(wire.readTick(transactions, 0, transactions.length), 0);
  t.equal(wire.readTransaction(transactions, 0), BAD_FIELD_NUMBER);
  t.equal(wire.readTransaction(transactions, 1), BAD_WIRE_TYPE);
});

void test('any number of transactions is kept apart', async (t) => {
  const wire = new TickWire();
  const frame = Buffer.concat(Array.from({ length: 1000 }, (_, i) => message(3, u64(2, BigInt(i)))));
  t.strictSame(read(wire, frame, 0, frame.length), expected(frame));
});

void test('random bytes never throw, and the scan accepts whatever the reader accepts', async (t) => {
  const wire = new TickWire();
  let wellFormed = 0;
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      const status = wire.readTick(bytes, 0, bytes.length);
      if (status === 0) wellFormed += 1;
      return status !== 0 || scanTickNumber(bytes, 0, bytes.length, new Uint32Array(2)) === 0;
    }),
    { numRuns: 3000 },
  );
  t.ok(wellFormed > 0);
});

void test('the tick of an answer to GetTick, undecoded', async (t) => {
  const tick = tickFrame(7n);
  const found = u64(2, 1n);
  t.strictSame(Buffer.from(tickOfAnswer(Buffer.concat([run(1, tick), found]))!), Buffer.from(tick));
  t.strictSame(
    Buffer.from(tickOfAnswer(Buffer.concat([found, run(9, tick), run(1, tick)]))!),
    Buffer.from(tick),
    'in any order, among unknown fields',
  );
  const [low, high] = [tick.subarray(0, 2), tick.subarray(2)];
  t.strictSame(
    Buffer.from(tickOfAnswer(Buffer.concat([run(1, low), found, run(1, high)]))!),
    Buffer.from(tick),
    'parts are merged',
  );
  t.equal(tickOfAnswer(new Uint8Array(0)), null);
  t.equal(tickOfAnswer(Buffer.concat([run(1, tick), u64(2, 0n)])), null, 'found decides');
  t.strictSame(Buffer.from(tickOfAnswer(Buffer.concat([run(1, Buffer.alloc(0)), found]))!), Buffer.alloc(0));
  t.throws(() => tickOfAnswer(found), /says found and has no tick/);
  t.throws(() => tickOfAnswer(run(1, tick).subarray(0, -1)), /malformed/);
});

void test('every status has a text of its own', async (t) => {
  const texts = [0, 1, 2, 3, 4, 5, 6].map(wireStatusText);
  t.equal(new Set(texts).size, 7);
  t.match(wireStatusText(99), /99/);
});
