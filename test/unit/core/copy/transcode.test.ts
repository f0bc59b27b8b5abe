import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { test } from 'tap';
import {
  createSpan,
  INT64_MAX,
  message,
  NOW_MICROS,
  outputOf,
  run,
  tag,
  tickFrame,
  transactionField,
  u64,
  U64_MAX,
  varint,
} from './frames.ts';
import { DAY, expectedTables, read, readFrames, TIMESTAMPTZ_LAST, YEAR_2000 } from './harness.ts';

const digits = fc.constantFrom(...Array.from('0123456789abcdefABCDEF'));
const hex = (maxLength: number) =>
  fc.array(digits, { maxLength }).map((list) => list.slice(0, list.length & ~1).join(''));
const hash = fc.array(digits, { minLength: 64, maxLength: 64 }).map((list) => list.join(''));
const int64 = fc.oneof(
  fc.bigInt(0n, INT64_MAX),
  fc.bigInt(0n, 100n),
  fc.constantFrom(INT64_MAX, 2n ** 53n, 2n ** 53n + 1n),
);
const anyU64 = fc.oneof(
  fc.bigInt(0n, U64_MAX),
  fc.bigInt(0n, 100n),
  fc.constantFrom(U64_MAX, 2n ** 63n, TIMESTAMPTZ_LAST),
);
const tickTime = fc.bigInt(YEAR_2000, NOW_MICROS + DAY);
const hostileId = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }).map((text) => Buffer.from(text)),
  fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
  fc.constantFrom('', '\0', 'a\0b', '\uFEFFid').map((text) => Buffer.from(text)),
);
const bytes = fc.uint8Array({ maxLength: 600 });
const unknown = fc
  .tuple(fc.integer({ min: 7, max: 3000 }), fc.uint8Array({ maxLength: 30 }))
  .map(([field, content]) => run(field, content));

/** Fields in any order, some of them absent, with unknown ones among them. */
function scattered(...fields: fc.Arbitrary<Buffer>[]): fc.Arbitrary<Buffer> {
  return fc
    .tuple(...fields.map((field) => fc.option(field, { freq: 9, nil: Buffer.alloc(0) })), unknown)
    .chain((list) => fc.shuffledSubarray(list, { minLength: list.length }))
    .map((list) => Buffer.concat(list));
}

/** … but these in any order and all of them. */
function complete(required: fc.Arbitrary<Buffer>[], rest: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer> {
  return fc
    .tuple(...required, rest)
    .chain((list) => fc.shuffledSubarray(list, { minLength: list.length }))
    .map((list) => Buffer.concat(list));
}

const transaction = scattered(
  hostileId.map((id) => run(1, id)),
  bytes.map((content) => run(2, content)),
  bytes.map((content) => run(3, content)),
  bytes.map((content) => run(4, content)),
  anyU64.map((value) => u64(5, value)),
  anyU64.map((value) => u64(6, value)),
);

const ordered = (sequence: bigint) =>
  complete(
    [hash.map((text) => run(3, text)), fc.constant(u64(2, sequence))],
    scattered(
      transaction.map((fields) => run(1, fields)),
      fc.bigInt(0n, TIMESTAMPTZ_LAST).map((value) => u64(4, value)),
    ),
  ).map((fields) => run(3, fields));

const transactions = fc
  .uniqueArray(int64, { maxLength: 5 })
  .chain((sequences) => fc.tuple(...sequences.map(ordered)))
  .map((list) => Buffer.concat(list));

const proof = scattered(
  hex(64).map((text) => run(1, text)),
  hex(520).map((text) => run(2, text)),
  hex(20).map((text) => run(3, text)),
  int64.map((value) => u64(4, value)),
).map((fields) => run(2, fields));

const goodTick = (number: bigint) =>
  complete(
    [
      fc.constant(u64(1, number)),
      hash.map((text) => run(4, text)),
      tickTime.map((value) => u64(5, value)),
      transactions,
    ],
    scattered(
      proof,
      hex(520).map((text) => run(6, text)),
    ),
  );

const firstNumber = fc.oneof(
  fc.bigInt(0n, INT64_MAX - 9n),
  fc.constantFrom(0n, 2n ** 32n - 2n, 2n ** 53n - 2n, INT64_MAX - 3n),
);

void test('every field of good ticks arrives as protobufjs reads it', async (t) => {
  let rows = 0;
  fc.assert(
    fc.property(
      firstNumber.chain((first) =>
        fc.tuple(
          fc.constant(first),
          fc.tuple(goodTick(first), goodTick(first + 1n), goodTick(first + 2n)),
          fc.boolean(),
        ),
      ),
      ([first, frames, shared]) => {
        const { result, tables } = read(createSpan(first, frames, shared));
        assert.deepEqual(result.deadLetters, []);
        assert.deepEqual(tables, expectedTables(frames));
        assert.equal(result.lastTimestampMicros, tables.ticks.at(-1)?.['timestamp']);
        rows += result.transactions;
      },
    ),
    { numRuns: 300 },
  );
  t.ok(rows > 300);
});

void test('a chain of full ticks: previous_output is written once', async (t) => {
  const frames = [7n, 8n, 9n].map((n) =>
    tickFrame(n, { transactions: [{ sequence: n }, { sequence: n + 1n }] }),
  );
  const { result, tables } = readFrames(7n, frames);
  t.strictSame(tables, expectedTables(frames));
  t.strictSame(
    tables.ticks.map((row) => row['previous_output']),
    [outputOf(6n), null, null],
  );
  t.strictSame(result, {
    ticks: 3,
    transactions: 6,
    deadLetters: [],
    lastTimestampMicros: NOW_MICROS,
    alarms: [],
    linkBreaks: 0,
    boundary: 'unknown',
  });
});

void test('number 0, empty texts, iterations 0, no transactions and missing messages are legal', async (t) => {
  const bare = Buffer.concat([run(4, '0f'.repeat(32)), u64(5, NOW_MICROS)]);
  const second = Buffer.concat([u64(1, 1n), bare, message(3, run(3, 'Ab'.repeat(32)))]);
  const { result, tables } = readFrames(0n, [bare, second]);
  t.strictSame(result.deadLetters, []);
  t.strictSame(tables, expectedTables([bare, second]));
  t.strictSame(tables.ticks[1]['previous_output'], null, 'equal to the empty output before it');
  t.strictSame(tables.transactions[0]['tx_id'], '');
});

void test('an empty span is three empty COPYs', async (t) => {
  const { result, tables } = readFrames(5n, []);
  t.strictSame(tables, { ticks: [], proofs: [], transactions: [] });
  t.strictSame(result, {
    ticks: 0,
    transactions: 0,
    deadLetters: [],
    lastTimestampMicros: 0n,
    alarms: [],
    linkBreaks: 0,
    boundary: 'none',
  });
});

void test('numbers at the edges of double, of 32 bits and of int8', async (t) => {
  for (const middle of [2n ** 32n, 2n ** 53n, 2n ** 52n, INT64_MAX - 1n]) {
    const frames = [middle - 1n, middle, middle + 1n].map((n) =>
      tickFrame(n, { iterations: n, transactions: [{ sequence: n, nonce: n, timestamp: n }] }),
    );
    const { result, tables } = readFrames(middle - 1n, frames);
    t.strictSame(result.deadLetters, []);
    t.strictSame(tables, expectedTables(frames));
  }
});

void test('what a client sets never makes a dead letter', async (t) => {
  const ids = [
    Buffer.of(0),
    Buffer.from('a\0b'),
    Buffer.of(0xff),
    Buffer.of(0xed, 0xa0, 0x80),
    Buffer.from('id'),
  ];
  const times = [2n ** 63n, TIMESTAMPTZ_LAST, TIMESTAMPTZ_LAST + 1n, 2n ** 64n - 2n, U64_MAX];
  const frame = tickFrame(3n, {
    transactions: ids.map((txId, i) => ({
      txId,
      sequence: BigInt(i),
      timestamp: times[i],
      nonce: times[4 - i],
      payload: i === 0 ? '' : 'x'.repeat(i * 1000),
      signature: '',
      publicKey: Buffer.alloc(i, 0),
    })),
  });
  const { result, tables } = readFrames(3n, [frame]);
  t.strictSame(result.deadLetters, []);
  t.strictSame(tables, expectedTables([frame]));
  t.strictSame(
    tables.transactions.map((row) => row['tx_id']),
    [null, null, null, null, 'id'],
  );
  t.strictSame(
    tables.transactions.map((row) => row['timestamp_us']),
    [null, null, TIMESTAMPTZ_LAST + 1n, 2n ** 64n - 2n, U64_MAX],
  );
});

void test('times: the ends of what is accepted', async (t) => {
  const frames = [YEAR_2000, NOW_MICROS + DAY].map((timestamp, i) =>
    tickFrame(BigInt(i), {
      timestamp,
      transactions: [{ ingestion: 0n }, { ingestion: TIMESTAMPTZ_LAST, sequence: 2n }],
    }),
  );
  const { result, tables } = readFrames(0n, frames);
  t.strictSame(result.deadLetters, []);
  t.equal(result.lastTimestampMicros, NOW_MICROS + DAY);
  t.strictSame(tables, expectedTables(frames));
});

void test('sequence numbers in any order are legal as long as each is there once', async (t) => {
  const sequences = [5n, 3n, INT64_MAX, 0n, 2n ** 32n, 2n ** 32n + 3n];
  const frame = tickFrame(11n, { transactions: sequences.map((sequence) => ({ sequence })) });
  const { result, tables } = readFrames(11n, [frame]);
  t.strictSame(result.deadLetters, []);
  t.strictSame(tables, expectedTables([frame]));
});

void test('overlong varints, wrong wire types and split messages are read as protobuf asks', async (t) => {
  const number = Buffer.concat([tag(1, 0), Buffer.of(0x85, 0x80, 0x80, 0)]);
  const split = [message(2, run(2, outputOf(5n)), u64(4, 1n)), message(2, run(1, 'ab'), u64(4, 27n))];
  const frame = Buffer.concat([
    u64(1, 99n),
    Buffer.concat([tag(4, 0), varint(3n)]),
    split[0],
    transactionField({ sequence: 4n }),
    run(4, '0f'.repeat(32)),
    u64(5, NOW_MICROS),
    run(6, outputOf(4n)),
    split[1],
    run(5, 'not a time'),
    number,
  ]);
  const plain = tickFrame(5n, { input: 'ab', proof: '', transactions: [{ sequence: 4n }] });
  const { result, tables } = readFrames(5n, [frame]);
  t.strictSame(result.deadLetters, []);
  t.strictSame(tables, expectedTables([plain]));
});
