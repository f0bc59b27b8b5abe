import assert from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import { FRAME_UNNUMBERED, INDEX_WORDS } from '../../../../src/core/copy/transcode.ts';
import type { SequenceStart } from '../../../../src/core/ingest/sequence.ts';
import type { SealedBatch } from '../../../../src/ingest/reader/batch-builder.ts';
import { FrameReader, type ReaderLimits } from '../../../../src/ingest/reader/frame-reader.ts';
import { planRing, Ring } from '../../../../src/ingest/ring.ts';

const TICK_BYTES_MAX = 4096;
const ascending = (a: bigint, b: bigint): number => (a < b ? -1 : a > b ? 1 : 0);
const MALFORMED = Uint8Array.of(0xff, 0xff);

function frame(number: bigint, padding = 0): Uint8Array {
  const bytes = [0x08];
  for (let rest = number; ; rest >>= 7n) {
    const low = Number(rest & 0x7fn);
    if (rest < 0x80n) {
      bytes.push(low);
      break;
    }
    bytes.push(low | 0x80);
  }
  if (padding > 0) {
    bytes.push(0x3a, 0x80 | (padding & 0x7f), padding >> 7); // field 7, unknown: skipped
    for (let at = 0; at < padding; at += 1) bytes.push(at & 0xff);
  }
  return Uint8Array.from(bytes);
}

interface Harness {
  reader: FrameReader;
  ring: Ring;
  batches: SealedBatch[];
  paused: () => boolean;
  time: { ms: number };
  free: (batch: SealedBatch) => void;
}

function harness(start: SequenceStart, limits: Partial<ReaderLimits> = {}, bufferTicks = 1000): Harness {
  const full: ReaderLimits = {
    batchTicks: 4,
    batchTicksMax: 16,
    flushMs: 100,
    inFlightMax: 2,
    reorderTicks: 8,
    reorderMs: 200,
    reorderBytes: 1 << 20,
    ...limits,
  };
  const ring = new Ring(
    planRing({
      bufferBytes: 4 * TICK_BYTES_MAX,
      bufferTicks,
      tickBytesMax: TICK_BYTES_MAX,
      batchTicksMax: full.batchTicksMax,
    }),
  );
  const batches: SealedBatch[] = [];
  let paused = false;
  const time = { ms: 0 };
  const reader = new FrameReader(
    ring,
    full,
    start,
    {
      repeated: () => true,
      mayJump: () => true,
      gaps: () => {},
      sealed: (batch) => batches.push(batch),
      pause: () => {
        paused = true;
      },
      resume: () => {
        paused = false;
      },
    },
    () => time.ms,
  );
  const free = (batch: SealedBatch): void => {
    if (batch.slab !== null) ring.free(batch.slab);
    ring.addBufferedTicks(-batch.ticks);
    ring.addInFlight(-1);
  };
  return { reader, ring, batches, paused: () => paused, time, free };
}

const fresh: SequenceStart = { expected: 1n, stored: [], openGaps: [] };
const range = (batch: SealedBatch): [bigint, bigint] => [batch.first, batch.first + BigInt(batch.ticks) - 1n];

void test('numbers in order become batches of BATCH_SIZE', async (t) => {
  const { reader, batches } = harness(fresh);
  for (let n = 1n; n <= 9n; n += 1n) reader.frame(frame(n));
  t.strictSame(batches.map(range), [
    [1n, 4n],
    [5n, 8n],
  ]);
});

void test('the oldest tick of a small batch does not wait longer than FLUSH_INTERVAL', async (t) => {
  const { reader, batches, time } = harness(fresh);
  reader.frame(frame(1n));
  time.ms = 99;
  reader.turn();
  t.equal(batches.length, 0);
  time.ms = 100;
  reader.turn();
  t.strictSame(batches.map(range), [[1n, 1n]]);
});

void test('while everybody downstream is busy a batch grows, and goes when somebody is free', async (t) => {
  const { reader, batches, free } = harness(fresh);
  for (let n = 1n; n <= 19n; n += 1n) reader.frame(frame(n));
  t.strictSame(batches.map(range), [
    [1n, 4n],
    [5n, 8n],
  ]);
  free(batches[0]);
  reader.turn();
  t.strictSame(batches.slice(2).map(range), [[9n, 19n]]);
});

void test('a full ring pauses the stream and nothing is lost when it goes on', async (t) => {
  const { reader, batches, paused, free } = harness(fresh, {}, 10);
  for (let n = 1n; n <= 30n; n += 1n) reader.frame(frame(n));
  t.ok(paused());
  const seen: bigint[] = [];
  for (let done = 0; done < 20 && seen.length < 30; done += 1) {
    for (const batch of batches.splice(0)) {
      for (let n = batch.first; n < batch.first + BigInt(batch.ticks); n += 1n) seen.push(n);
      free(batch);
    }
    if (seen.length >= 28) reader.drain();
    else reader.turn();
  }
  t.strictSame(
    seen,
    Array.from({ length: 30 }, (_, at) => BigInt(at + 1)),
  );
});

void test('a hole becomes a gap of the first batch beyond it, once the window is over', async (t) => {
  const { reader, batches, time } = harness(fresh);
  for (const n of [1n, 2n, 5n, 6n]) reader.frame(frame(n));
  time.ms = 200;
  reader.turn();
  reader.drain();
  t.strictSame(
    batches.map((batch) => ({ range: range(batch), gaps: batch.gaps })),
    [
      { range: [1n, 2n], gaps: [] },
      { range: [5n, 6n], gaps: [{ first: 3n, last: 4n }] },
    ],
  );
});

void test('a frame without a usable number rides along at its place', async (t) => {
  const { reader, batches, ring } = harness(fresh);
  for (const bytes of [frame(1n), MALFORMED, frame(1n << 63n), frame(2n)]) reader.frame(bytes);
  reader.drain();
  t.equal(batches.length, 1);
  const [batch] = batches;
  t.strictSame(range(batch), [1n, 2n]);
  const flags = Array.from({ length: 4 }, (_, at) => ring.slab(batch.slab!).index[at * INDEX_WORDS + 2]);
  t.strictSame(flags, [0, FRAME_UNNUMBERED, FRAME_UNNUMBERED, 0]);
});

void test('a frame too large for a slab travels in memory of its own, alone', async (t) => {
  const { reader, batches, free } = harness(fresh);
  const large = Uint8Array.from(frame(2n, 9000));
  reader.frame(frame(1n));
  reader.frame(large);
  t.strictSame(batches.map(range), [[1n, 1n]]);
  t.ok(reader.waiting, 'it waits until nothing else is in flight');
  free(batches[0]);
  reader.turn();
  t.strictSame(batches.slice(1).map(range), [[2n, 2n]]);
  t.strictSame(batches[1].side, large);
  free(batches[1]);
  reader.turn();
  t.notOk(reader.waiting);
});

void test('abandoning gives every slab back', async (t) => {
  const { reader, ring } = harness(fresh);
  for (const n of [1n, 2n, 7n]) reader.frame(frame(n));
  reader.abandon();
  t.equal(ring.slabsTaken, 0);
  t.equal(ring.bufferedTicks, 0);
});

void test('any order, repetition and loss: every number that came is in one batch, every other one in a gap', async () => {
  const stream = fc.array(
    fc.oneof(
      { weight: 8, arbitrary: fc.record({ kind: fc.constant('next' as const) }) },
      {
        weight: 1,
        arbitrary: fc.record({ kind: fc.constant('skip' as const), count: fc.integer({ min: 1, max: 12 }) }),
      },
      {
        weight: 1,
        arbitrary: fc.record({ kind: fc.constant('again' as const), back: fc.integer({ min: 1, max: 20 }) }),
      },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('bad' as const) }) },
      {
        weight: 1,
        arbitrary: fc.record({ kind: fc.constant('time' as const), ms: fc.integer({ min: 1, max: 300 }) }),
      },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('commit' as const) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('swap' as const) }) },
    ),
    { maxLength: 200 },
  );
  fc.assert(
    fc.property(stream, fc.constantFrom(5, 20, 1000), (steps, bufferTicks) => {
      const h = harness(fresh, {}, bufferTicks);
      const sent = new Set<bigint>();
      let bad = 0;
      let next = 1n;
      const stored: bigint[] = [];
      const gaps: bigint[] = [];
      const take = (): void => {
        for (const batch of h.batches.splice(0)) {
          for (let n = batch.first; n < batch.first + BigInt(batch.ticks); n += 1n) stored.push(n);
          for (const gap of batch.gaps) for (let n = gap.first; n <= gap.last; n += 1n) gaps.push(n);
          h.free(batch);
        }
        h.reader.turn();
      };
      const send = (n: bigint): void => {
        sent.add(n);
        h.reader.frame(frame(n));
      };
      for (const one of steps) {
        if (one.kind === 'next') send(next++);
        else if (one.kind === 'skip') next += BigInt(one.count);
        else if (one.kind === 'again' && next > BigInt(one.back)) send(next - BigInt(one.back));
        else if (one.kind === 'swap') {
          send(next + 1n);
          send(next);
          next += 2n;
        } else if (one.kind === 'bad') {
          bad += 1;
          h.reader.frame(MALFORMED);
        } else if (one.kind === 'time') {
          h.time.ms += one.ms;
          h.reader.turn();
        } else take();
      }
      for (let round = 0; round < 100; round += 1) {
        h.time.ms += 300;
        take();
      }
      for (let round = 0; round < 100 && !h.reader.drain(); round += 1) take();
      take();
      assert.equal(h.ring.slabsTaken, 0, 'every slab is free in the end');
      assert.equal(h.ring.bufferedTicks, 0);
      assert.equal(h.reader.counts.unnumbered, bad);
      assert.equal(new Set(stored).size, stored.length, 'nothing twice');
      assert.deepEqual([...new Set(stored)].sort(ascending), [...sent].sort(ascending), 'nothing lost');
      const highest = stored.reduce((a, b) => (a > b ? a : b), 0n);
      for (let n = 1n; n <= highest; n += 1n) {
        if (!sent.has(n)) assert.ok(gaps.includes(n), `${n} is in a gap`);
      }
    }),
    { numRuns: 300 },
  );
});
