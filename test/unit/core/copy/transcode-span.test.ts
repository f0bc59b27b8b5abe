import assert from 'node:assert/strict';
import { test } from 'tap';
import { TICKS } from '../../../../src/core/copy/tables.ts';
import { transcode } from '../../../../src/core/copy/transcode.ts';
import { createSpan, LIMITS, NOW_MICROS, outputOf, tickFrame, U64_MAX, type SpanFrame } from './frames.ts';
import { createSinks, expectedTables, readFrames, sinks } from './harness.ts';
import { rowsByMessage, written } from './pgcopy.ts';

function previous(frames: readonly SpanFrame[], first: bigint) {
  return readFrames(first, frames).tables.ticks.map((row) => row['previous_output']);
}

void test('previous_output is null only after its own tick in the same span', async (t) => {
  const bad = tickFrame(2n, { proof: 'zz' });
  t.strictSame(previous([tickFrame(1n), bad, tickFrame(3n), tickFrame(4n)], 1n), [
    outputOf(0n),
    outputOf(2n),
    null,
  ]);
  t.strictSame(previous([tickFrame(1n)], 1n), [outputOf(0n)]);
  t.strictSame(previous([tickFrame(2n)], 2n), [outputOf(1n)], 'the tick before was in another span');
  const oversized = tickFrame(2n, { transactions: [{ payload: Buffer.alloc(70_000) }] });
  t.strictSame(previous([tickFrame(1n), oversized, tickFrame(3n)], 1n), [outputOf(0n), outputOf(2n)]);
  const twice = tickFrame(2n, { transactions: [{}, {}] });
  t.strictSame(previous([tickFrame(1n), twice, tickFrame(3n)], 1n), [outputOf(0n), outputOf(2n)]);
  const short = [tickFrame(1n, { output: 'abcd' }), tickFrame(2n, { previousOutput: 'abcd' })];
  t.strictSame(previous(short, 1n), [outputOf(0n), null]);
  const empty = [tickFrame(1n, { output: '' }), tickFrame(2n, { previousOutput: '' })];
  t.strictSame(previous(empty, 1n), [outputOf(0n), null]);
});

void test('a broken link is counted and stored', async (t) => {
  for (const previousOutput of ['', 'ab', outputOf(9n), `${outputOf(1n).slice(0, -1)}f`]) {
    const frames = [tickFrame(1n), tickFrame(2n, { previousOutput }), tickFrame(3n)];
    const { result, tables } = readFrames(1n, frames);
    t.equal(result.linkBreaks, 1);
    t.strictSame(
      tables.ticks.map((row) => row['previous_output']),
      [outputOf(0n), previousOutput, null],
    );
  }
});

void test('another case of the same digits is stored as it came and is no break', async (t) => {
  const output = 'abcdef'.repeat(80);
  const frames = [tickFrame(1n, { output }), tickFrame(2n, { previousOutput: output.toUpperCase() })];
  const { result, tables } = readFrames(1n, frames);
  t.equal(result.linkBreaks, 0);
  t.equal(tables.ticks[1]['previous_output'], output.toUpperCase());
});

void test('long COPYs are cut into messages at rows, and a bad tick leaves nothing in any of them', async (t) => {
  const payload = Buffer.alloc(20_000, 0x41);
  const full = (n: bigint, extra: object[] = []) =>
    tickFrame(n, { transactions: [{ payload }, { payload, sequence: 2n }, ...extra] });
  const frames = Array.from({ length: 300 }, (_, i) =>
    full(BigInt(i), i % 3 === 1 ? [{ payload, sequence: 3n, txHash: 'bad' }] : []),
  );
  const { result, tables } = readFrames(0n, frames);
  t.equal(result.deadLetters.length, 100);
  const good = frames.map((frame, i) => (i % 3 === 1 ? null : frame));
  const expected = expectedTables(good.filter((frame) => frame !== null));
  // 3n + 2 follows a dead letter, though the tick that was stored before it is 3n
  t.strictSame(tables, expected);
  const messages = rowsByMessage(written(sinks.transactions), {
    name: '',
    columns: Array.from({ length: 13 }, (_, i) => ({ name: String(i), type: 'bytea', nullable: true })),
  });
  t.equal(Math.max(...messages.map((rows) => rows.length)), 4, '64 KiB are reached by the fourth row');
  t.ok(messages.length > 90);
  t.ok(rowsByMessage(written(sinks.ticks), TICKS).length > 1);
});

void test('sinks are used again, fresh or adopted, with the same bytes as a result', async (t) => {
  const span = createSpan(1n, [
    tickFrame(1n, { transactions: [{}] }),
    tickFrame(2n, { proof: 'zz' }),
    tickFrame(3n),
  ]);
  const snapshot = (used: ReturnType<typeof createSinks>) => {
    const result = transcode(span, used, LIMITS);
    const { ticks, proofs, transactions } = used;
    return {
      result,
      bytes: [ticks, proofs, transactions].map((sink) => Buffer.from(written(sink))),
    };
  };
  const fresh = snapshot(createSinks());
  t.strictSame(snapshot(sinks), fresh);
  t.strictSame(snapshot(sinks), fresh);
  const adopted = createSinks();
  adopted.ticks.adopt(new ArrayBuffer(0));
  adopted.proofs.adopt(new ArrayBuffer(700));
  adopted.transactions.adopt(new ArrayBuffer(1));
  t.strictSame(snapshot(adopted), fresh);
});

void test('the room reserved for a row is enough, however little there is', async (t) => {
  // each transaction is the largest of its kind: the longest numerics, with and without a timestamp and a text tx_id
  const transactions = [U64_MAX, NOW_MICROS].flatMap((timestamp, i) =>
    ['id', '\0'].map((txId, k) => ({ txId, timestamp, nonce: U64_MAX, sequence: BigInt(2 * i + k) })),
  );
  const span = createSpan(1n, [tickFrame(1n, { transactions }), tickFrame(2n, { previousOutput: '' })]);
  const used = createSinks();
  transcode(span, used, LIMITS);
  const all = [used.ticks, used.proofs, used.transactions];
  const expected = all.map((sink) => Buffer.from(written(sink)));
  for (let missing = 0; missing <= expected[2].length; missing++) {
    all.forEach((sink, i) => sink.adopt(new ArrayBuffer(Math.max(0, expected[i].length - missing))));
    transcode(span, used, LIMITS);
    assert.deepEqual(
      all.map((sink) => Buffer.from(written(sink))),
      expected,
    );
  }
  t.ok(expected[2].length > 1000);
});
