import { test } from 'tap';
import { transcode, type FrameSpan } from '../../../../src/core/copy/transcode.ts';
import { createSpan, INT64_MAX, LIMITS, message, NOW_MICROS, run, tickFrame, U64_MAX } from './frames.ts';
import { DAY, expectedTables, read, readFrames, sinks, TIMESTAMPTZ_LAST, YEAR_2000 } from './harness.ts';

const truncatedTransaction = message(3, Buffer.of(0x1a, 64, 0x30));

/** Every way in which a tick with number 11 can be bad, and the words that its sentence must have. */
const BAD_TICKS: [string, Uint8Array, RegExp][] = [
  [
    'malformed_frame',
    Buffer.concat([tickFrame(11n), run(2, Buffer.of(0x0a, 9))]),
    /beyond the end.*vdf_proof/,
  ],
  [
    'malformed_frame',
    Buffer.concat([tickFrame(11n, { transactions: [{}] }), truncatedTransaction]),
    /transactions\[1\]/,
  ],
  ['iterations_out_of_range', tickFrame(11n, { iterations: 2n ** 63n }), /iterations 9223372036854775808 /],
  ['iterations_out_of_range', tickFrame(11n, { iterations: U64_MAX }), /18446744073709551615/],
  [
    'sequence_out_of_range',
    tickFrame(11n, { transactions: [{ sequence: 2n ** 63n }] }),
    /\[0\]\.sequence_number/,
  ],
  ['time_out_of_range', tickFrame(11n, { timestamp: YEAR_2000 - 1n }), /timestamp 946684799999999 us/],
  ['time_out_of_range', tickFrame(11n, { timestamp: NOW_MICROS + DAY + 1n }), /1 day/],
  ['time_out_of_range', tickFrame(11n, { timestamp: U64_MAX }), /18446744073709551615/],
  ['time_out_of_range', tickFrame(11n, { timestamp: 0n }), /timestamp 0 us/],
  [
    'ingestion_time_out_of_range',
    tickFrame(11n, { transactions: [{}, { sequence: 2n, ingestion: TIMESTAMPTZ_LAST + 1n }] }),
    /\[1\]\.ingestion_timestamp 9224318016000000000 us/,
  ],
  ['batch_hash_not_hex', tickFrame(11n, { batchHash: 'ab'.repeat(31) }), /62 hex digits instead of 64/],
  ['batch_hash_not_hex', tickFrame(11n, { batchHash: 'ab'.repeat(33) }), /66 hex digits/],
  ['batch_hash_not_hex', tickFrame(11n, { batchHash: '' }), /0 hex digits/],
  ['batch_hash_not_hex', tickFrame(11n, { batchHash: `${'ab'.repeat(31)}ag` }), /byte 0x67 at 63/],
  [
    'tx_hash_not_hex',
    tickFrame(11n, { transactions: [{ txHash: 'a'.repeat(63) }] }),
    /\[0\]\.tx_hash has 63/,
  ],
  [
    'tx_hash_not_hex',
    tickFrame(11n, { transactions: [{ txHash: 'a'.repeat(62) }] }),
    /62 hex digits instead of 64/,
  ],
  ['tx_hash_not_hex', tickFrame(11n, { transactions: [{ txHash: '' }] }), /0 hex digits instead of 64/],
  [
    'tx_hash_not_hex',
    tickFrame(11n, { transactions: [{}, { txHash: ' '.repeat(64) }] }),
    /\[1\]\.tx_hash .*0x20 at 0/,
  ],
  ['previous_output_not_hex', tickFrame(11n, { previousOutput: 'abc' }), /odd/],
  ['previous_output_not_hex', tickFrame(11n, { previousOutput: '0x' }), /byte 0x78 at 1/],
  ['input_not_hex', tickFrame(11n, { input: 'ab\0d' }), /byte 0x00 at 2/],
  ['output_not_hex', tickFrame(11n, { output: `${'ab'.repeat(255)}\u00e9` }), /byte 0xc3 at 510/],
  ['proof_not_hex', tickFrame(11n, { proof: Buffer.of(0x30, 0xff) }), /byte 0xff at 1/],
  [
    'duplicate_sequence',
    tickFrame(11n, { transactions: [{}, { sequence: 5n }, {}] }),
    /number 1 .*\[0\] and .*\[2\]/,
  ],
  ['duplicate_sequence', tickFrame(11n, { transactions: [{ sequence: 0n }, { sequence: 0n }] }), /number 0 /],
  [
    'too_large',
    tickFrame(11n, { transactions: [{ payload: 'x'.repeat(64 * 1024) }] }),
    /6\d{4} bytes.* 65536/,
  ],
];

void test('each reason for a dead letter, with the neighbours untouched', async (t) => {
  const [before, after] = [
    tickFrame(10n, { transactions: [{}] }),
    tickFrame(12n, { transactions: [{}, { sequence: 9n }] }),
  ];
  const expected = expectedTables([before]);
  const rest = expectedTables([after]);
  for (const [reason, frame, sentence] of BAD_TICKS) {
    const span = createSpan(10n, [before, frame, after]);
    const { result, tables } = read(span);
    const detail = result.deadLetters[0]?.detail ?? '';
    t.strictSame(result.deadLetters, [
      { tickNumber: 11n, afterTick: null, reason, detail, offset: span.index[3], length: frame.length },
    ]);
    t.match(detail, sentence);
    t.match(detail, /^[\x20-\x7e]{10,160}$/);
    t.strictSame(tables, {
      ticks: [...expected.ticks, ...rest.ticks],
      proofs: [...expected.proofs, ...rest.proofs],
      transactions: [...expected.transactions, ...rest.transactions],
    });
    t.equal(result.linkBreaks, 0, 'the tick after a dead letter is no break');
  }
});

void test('the largest frame that is allowed is stored', async (t) => {
  const frame = tickFrame(11n, { transactions: [{ payload: 'x'.repeat(5000) }] });
  const span = createSpan(11n, [frame]);
  t.equal(read(span, { ...LIMITS, tickMaxBytes: frame.length }).result.ticks, 1);
  t.equal(
    read(span, { ...LIMITS, tickMaxBytes: frame.length - 1 }).result.deadLetters[0].reason,
    'too_large',
  );
});

void test('frames without a number stand after the number before them', async (t) => {
  const malformed = { unnumbered: tickFrame(6n).subarray(0, 40) };
  const empty = { unnumbered: Buffer.of(0xff) };
  const span = createSpan(5n, [
    malformed,
    tickFrame(5n),
    { unnumbered: tickFrame(2n ** 63n) },
    { unnumbered: tickFrame(U64_MAX) },
    tickFrame(6n),
    empty,
  ]);
  const { result, tables } = read(span);
  t.strictSame(
    result.deadLetters.map(({ tickNumber, afterTick, reason, offset, length }) => [
      tickNumber,
      afterTick,
      reason,
      Buffer.from(span.bytes.subarray(offset, offset + length)).toString('hex'),
    ]),
    [
      [null, 4n, 'malformed_frame', malformed.unnumbered.toString('hex')],
      [null, 5n, 'number_out_of_range', tickFrame(2n ** 63n).toString('hex')],
      [null, 5n, 'number_out_of_range', tickFrame(U64_MAX).toString('hex')],
      [null, 6n, 'malformed_frame', 'ff'],
    ],
  );
  t.match(result.deadLetters[2].detail, /tick_number 18446744073709551615 is above/);
  t.strictSame(tables, expectedTables([tickFrame(5n), tickFrame(6n)]), 'they do not part two ticks');
  t.strictSame(readFrames(0n, [empty]).result.deadLetters[0].afterTick, null, 'nothing comes before tick 0');
});

void test('the last number that int8 holds has no number after it', async (t) => {
  const { result } = readFrames(INT64_MAX, [tickFrame(INT64_MAX), { unnumbered: tickFrame(2n ** 63n) }]);
  t.equal(result.ticks, 1);
  t.equal(result.deadLetters[0].afterTick, INT64_MAX);
});

void test('a span that contradicts itself is a broken invariant', async (t) => {
  const throws = (span: FrameSpan, pattern: RegExp) =>
    t.throws(() => transcode(span, sinks, LIMITS), pattern);
  throws(createSpan(5n, [tickFrame(6n)]), /not tick 5/);
  throws(createSpan(5n, [tickFrame(5n), tickFrame(7n)]), /not tick 6/);
  throws(createSpan(5n, [tickFrame(5n + 2n ** 32n)]), /not tick 5/);
  throws(createSpan(5n, [Buffer.concat([tickFrame(6n), run(2, Buffer.of(0))])]), /not tick 5/);
  throws(
    createSpan(5n, [tickFrame(6n, { transactions: [{ payload: Buffer.alloc(70_000) }] })]),
    /not tick 5/,
  );
  throws(createSpan(5n, [Buffer.of(0)]), /not tick 5/);
  throws(createSpan(2n ** 63n, [tickFrame(2n ** 63n)]), /not tick 9223372036854775808/);
  throws(
    createSpan(2n ** 63n, [Buffer.concat([tickFrame(2n ** 63n), run(2, Buffer.of(0))])]),
    /not tick 9223/,
  );
  throws(createSpan(5n, [{ unnumbered: tickFrame(5n) }]), /flagged/);
  const outside = createSpan(5n, [tickFrame(5n)]);
  outside.index[1] += 4;
  throws(outside, /outside/);
  t.equal(readFrames(5n, [tickFrame(5n)]).result.ticks, 1, 'and the next call is not harmed');
});
