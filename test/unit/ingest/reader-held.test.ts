import assert from 'node:assert/strict';
import { test } from 'tap';
import { FRAME_UNNUMBERED, INDEX_WORDS } from '../../../src/core/copy/transcode.ts';
import type { SealedBatch } from '../../../src/ingest/fill.ts';
import { FrameReader } from '../../../src/ingest/reader.ts';
import { planRing, Ring } from '../../../src/ingest/ring.ts';

/** A tick with a number below 128 and nothing else. */
function frame(number: number): Uint8Array {
  return Uint8Array.of(8, number);
}
const STRAY = Uint8Array.of(0x7f, 0xff);

interface Opened {
  reader: FrameReader;
  batches: SealedBatch[];
  time: { ms: number };
  paused: () => boolean;
  /** what stands in the ring: numbers, null for a frame without one */
  contents: (batch: SealedBatch) => (number | null)[];
  free: (batch: SealedBatch) => void;
}

function open(bufferTicks: number, batchTicks: number): Opened {
  const tickBytesMax = 4096;
  const reading = {
    batchTicks,
    batchTicksMax: batchTicks * 4,
    flushMs: 10,
    inFlightMax: 100,
    reorderTicks: 8,
    reorderMs: 200,
    reorderBytes: 1 << 20,
  };
  const ring = new Ring(
    planRing({ bufferBytes: 64 * tickBytesMax, bufferTicks, tickBytesMax, batchTicksMax: batchTicks * 4 }),
  );
  const batches: SealedBatch[] = [];
  const time = { ms: 0 };
  let isPaused = false;
  const reader = new FrameReader(
    ring,
    reading,
    { expected: 1n, stored: [], openGaps: [] },
    {
      gaps: () => {},
      sealed: (batch) => batches.push(batch),
      pause: () => (isPaused = true),
      resume: () => (isPaused = false),
    },
    () => time.ms,
  );
  return {
    reader,
    batches,
    time,
    paused: () => isPaused,
    contents: (batch) => {
      let number = Number(batch.first);
      return Array.from({ length: batch.frames }, (_, at) => {
        const flags = ring.slab(batch.slab!).index[at * INDEX_WORDS + 2];
        return (flags & FRAME_UNNUMBERED) === 0 ? number++ : null;
      });
    },
    free: (batch) => {
      ring.free(batch.slab!);
      ring.addHeldTicks(-batch.ticks);
      ring.addInFlight(-1);
    },
  };
}

void test('a full ring keeps the stream paused while frames that were held wait for room', async (t) => {
  const { reader, batches, time, paused, free } = open(4, 1);
  for (const number of [1, 2, 3]) reader.frame(frame(number));
  for (const number of [5, 6, 7]) reader.frame(frame(number)); // 4 is missing
  t.equal(paused(), false);
  time.ms = 300;
  reader.turn(); // the gap is declared, 5 is taken, and the ring is full
  t.equal(paused(), true);
  for (let turn = 0; turn < 20; turn += 1) {
    time.ms += 300;
    reader.turn();
    t.equal(paused(), true, 'nobody makes room: nothing more is let in');
  }
  reader.frame(frame(8)); // was under way already
  t.equal(reader.drain(), false, 'what was read is not yet all in the ring');
  while (!batches.some(({ first }) => first === 8n)) {
    const before = batches.length;
    for (const batch of batches.splice(0)) free(batch);
    reader.turn();
    assert.ok(before > 0, 'the ring goes on');
  }
  t.equal(reader.drain(), true);
  t.equal(reader.highest, 8n);
});

void test('a frame without a number keeps its place while the frames around it wait', async (t) => {
  const { reader, batches, time, contents } = open(100, 100);
  for (const number of [1, 2, 4]) reader.frame(frame(number)); // 3 is missing
  reader.frame(STRAY); // after 4
  for (const number of [5, 6]) reader.frame(frame(number));
  time.ms = 20;
  reader.turn();
  t.same(batches.flatMap(contents), [1, 2], 'not after 2');
  time.ms = 300;
  reader.turn();
  t.same(batches.flatMap(contents), [1, 2, 4, null, 5, 6]);
  const gaps = batches.flatMap((batch) => batch.gaps);
  t.same(gaps, [{ first: 3n, last: 3n }]);
});

void test('frames that were held are forgotten with their strays when the stream is lost', async (t) => {
  const { reader, batches, time, contents } = open(100, 100);
  for (const number of [1, 3]) reader.frame(frame(number));
  reader.frame(STRAY);
  reader.disconnected();
  t.equal(reader.due, 2n);
  for (const number of [2, 3]) reader.frame(frame(number));
  reader.frame(STRAY);
  time.ms = 20;
  reader.turn();
  t.same(batches.flatMap(contents), [1, 2, 3, null]);
});
