import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { test } from 'tap';
import { scanTickNumber } from '../../../../src/core/chain/wire.ts';
import { ByteSink } from '../../../../src/core/copy/sink.ts';
import { transcode } from '../../../../src/core/copy/transcode.ts';
import { createSpan, INT64_MAX, LIMITS, tickFrame, type SpanFrame } from './frames.ts';
import { tablesOf, type Row, type Tables } from './pgcopy.ts';

const FIRST = 1000n;
const TICKS = 5;
const VICTIM = 2;

const sinks = { ticks: new ByteSink(), proofs: new ByteSink(), transactions: new ByteSink() };

const frames = Array.from({ length: TICKS }, (_, i) => {
  const transactions = Array.from({ length: i }, (_, n) => ({
    sequence: BigInt(n * 3),
    payload: 'p'.repeat(n * 90),
  }));
  return tickFrame(FIRST + BigInt(i), { transactions });
});

function run(first: bigint, span: readonly SpanFrame[]) {
  const result = transcode(createSpan(first, span), sinks, LIMITS);
  return { result, tables: tablesOf(sinks) };
}

const untouched = run(FIRST, frames).tables;

function rowsOf(tables: Tables, number: bigint): Row[][] {
  const own = (rows: Row[]) => rows.filter((row) => row['tick_number'] === number);
  return [own(tables.ticks), own(tables.proofs), own(tables.transactions)];
}

/** The number as the reader thread finds it; null when it cannot be used. */
function usableNumber(frame: Uint8Array): bigint | null {
  const out = new Uint32Array(2);
  if (scanTickNumber(frame, 0, frame.length, out) !== 0) return null;
  const number = (BigInt(out[0]) << 32n) | BigInt(out[1]);
  return number <= INT64_MAX ? number : null;
}

/** up to four pieces of damage; `at` in ten-thousandths of the frame */
const damage = fc.array(
  fc.record({
    at: fc.nat(9999),
    byte: fc.nat(255),
    kind: fc.constantFrom('flip', 'set', 'cut', 'insert'),
  }),
  { minLength: 1, maxLength: 4 },
);

function damaged(frame: Buffer, list: { at: number; byte: number; kind: string }[]): Buffer {
  let bytes = Buffer.from(frame);
  for (const { at, byte, kind } of list) {
    const place = Math.floor((at / 10_000) * bytes.length);
    if (kind === 'flip' && bytes.length > 0) bytes[place] ^= 1 << (byte & 7);
    else if (kind === 'set' && bytes.length > 0) bytes[place] = byte;
    else if (kind === 'cut') bytes = bytes.subarray(0, place);
    else bytes = Buffer.concat([bytes.subarray(0, place), Buffer.of(byte), bytes.subarray(place)]);
  }
  return bytes;
}

void test('a damaged frame is stored or a dead letter, and its neighbours are untouched', async (t) => {
  const reasons = new Map<string, number>();
  fc.assert(
    fc.property(damage, (list) => {
      const frame = damaged(frames[VICTIM], list);
      const number = usableNumber(frame);
      const expectedNumber = FIRST + BigInt(VICTIM);
      const inPlace = number === null || number === expectedNumber;
      const victim = number === null ? { unnumbered: frame } : frame;
      if (!inPlace) {
        // the reader would never put it there: a span of its own
        const { result } = run(number, [frame]);
        assert.equal(result.ticks + result.deadLetters.length, 1);
        return;
      }
      const span: SpanFrame[] = [...frames.slice(0, VICTIM), victim];
      // without a number it stands for no tick: what comes after it has the numbers that follow
      if (number !== null) span.push(...frames.slice(VICTIM + 1));
      const { result, tables } = run(FIRST, span);
      assert.equal(result.ticks + result.deadLetters.length, span.length);
      const reason: string = result.deadLetters[0]?.reason ?? 'stored';
      reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
      for (let i = 0; i < span.length; i++) {
        if (i === VICTIM) continue;
        const neighbour = FIRST + BigInt(i);
        const [ticks, ...others] = rowsOf(tables, neighbour);
        const [ticksBefore, ...othersBefore] = rowsOf(untouched, neighbour);
        assert.deepEqual(others, othersBefore);
        // the tick after the damage may have to show its previous_output now
        const hidden = i === VICTIM + 1 ? { previous_output: null } : {};
        assert.deepEqual([{ ...ticks[0], ...hidden }], ticksBefore);
      }
      const own = rowsOf(tables, expectedNumber);
      if (reason !== 'stored') assert.deepEqual(own, [[], [], []]);
      else assert.deepEqual([own[0].length, own[1].length], [1, 1]);
    }),
    { numRuns: 4000 },
  );
  for (const reason of ['stored', 'malformed_frame', 'output_not_hex', 'batch_hash_not_hex']) {
    t.ok((reasons.get(reason) ?? 0) > 10, reason);
  }
});

void test('random bytes as a frame never throw', async (t) => {
  const seen = new Set<string>();
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      const number = usableNumber(bytes);
      const { result, tables } = run(number ?? 0n, [number === null ? { unnumbered: bytes } : bytes]);
      assert.equal(result.ticks, tables.ticks.length);
      seen.add(result.deadLetters[0]?.reason ?? 'stored');
    }),
    { numRuns: 3000 },
  );
  t.ok(seen.has('malformed_frame') && seen.has('time_out_of_range'));
});
