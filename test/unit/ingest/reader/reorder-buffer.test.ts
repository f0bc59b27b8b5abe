import assert from 'node:assert/strict';
import { test } from 'tap';
import { FRAME_UNNUMBERED, INDEX_WORDS } from '../../../../src/core/copy/transcode.ts';
import type { SequenceStart } from '../../../../src/core/ingest/sequence.ts';
import type { SealedBatch } from '../../../../src/ingest/reader/batch-builder.ts';
import { FrameReader } from '../../../../src/ingest/reader/frame-reader.ts';
import { planRing, Ring } from '../../../../src/ingest/ring.ts';

/** A tick with a number and nothing else. */
function frame(number: number): Uint8Array {
  const bytes = [8];
  let rest = number;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return Uint8Array.from([...bytes, rest]);
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

const FRESH: SequenceStart = { expected: 1n, stored: [], openGaps: [] };

function open(bufferTicks: number, batchTicks: number, start = FRESH, mayJump = () => true): Opened {
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
    start,
    {
      repeated: () => true,
      mayJump,
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
      ring.addBufferedTicks(-batch.ticks);
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

void test('a frame without a number is known by the number before it, whatever is stored behind it', async (t) => {
  const start = { expected: 3n, stored: [{ first: 6n, last: 10n }], openGaps: [{ first: 5n, last: 5n }] };
  const { reader, batches, time } = open(100, 100, start);
  for (const number of [3, 4]) reader.frame(frame(number));
  t.equal(reader.due, 11n, 'the rest is recorded: these frames are read again after a restart');
  reader.frame(STRAY); // in the place of 5
  for (const number of [6, 7]) reader.frame(frame(number));
  reader.frame(STRAY); // one more, after 7
  time.ms = 20;
  reader.turn();
  t.same(
    batches.map(({ first, ticks, frames }) => ({ first, ticks, frames })),
    [
      { first: 3n, ticks: 2, frames: 3 },
      { first: 8n, ticks: 0, frames: 1 },
    ],
  );
});

void test('a hole too large to be believed stops the reading until the head vouches for it', async (t) => {
  let isBelieved = false;
  const { reader, batches, time, paused } = open(100, 100, FRESH, () => isBelieved);
  reader.frame(frame(1));
  reader.frame(frame(5_000_000));
  time.ms = 300;
  reader.turn();
  t.equal(paused(), true);
  reader.frame(frame(2)); // was under way already
  time.ms = 600;
  reader.turn();
  t.same(
    batches.map(({ first, ticks, gaps }) => ({ first, ticks, gaps })),
    [{ first: 1n, ticks: 1, gaps: [] }],
  );
  isBelieved = true;
  reader.turn();
  t.equal(paused(), false);
  t.equal(reader.drain(), true);
  t.same(
    batches.slice(1).map(({ first, ticks, gaps, fills }) => ({ first, ticks, gaps, fills })),
    [
      { first: 5_000_000n, ticks: 1, gaps: [{ first: 2n, last: 4_999_999n }], fills: false },
      { first: 2n, ticks: 1, gaps: [], fills: true },
    ],
  );
});

void test('a disbelieved frame is forgotten with its stream', async (t) => {
  const { reader, batches, time, paused } = open(100, 100, FRESH, () => false);
  reader.frame(frame(1));
  reader.frame(frame(5_000_000));
  time.ms = 300;
  reader.turn();
  reader.disconnected();
  reader.turn();
  t.equal(paused(), false);
  t.equal(reader.due, 2n);
  reader.frame(frame(2));
  t.equal(reader.drain(), true);
  t.same(
    batches.flatMap(({ gaps }) => gaps),
    [],
  );
});
