import assert from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import type { FetchedFrame } from '../../../../src/ingest/gaps/fetched-frames.ts';
import type { SealedBatch } from '../../../../src/ingest/reader/batch-builder.ts';
import { FrameReader } from '../../../../src/ingest/reader/frame-reader.ts';
import { planRing, Ring } from '../../../../src/ingest/ring.ts';
import { frame } from '../gaps/harness.ts';

const TICK_BYTES_MAX = 4096;

interface Opened {
  reader: FrameReader;
  ring: Ring;
  batches: SealedBatch[];
  gaps: string[];
  /** frames whose number was received before: of our own request, or of the stream */
  repeats: string[];
  isPaused: () => boolean;
  time: { ms: number };
  free: (batch: SealedBatch) => void;
}

function open(expected: bigint, openGaps: [bigint, bigint][], bufferTicks = 1000): Opened {
  const limits = {
    batchTicks: 4,
    batchTicksMax: 16,
    flushMs: 100,
    inFlightMax: 2,
    reorderTicks: 3,
    reorderMs: 200,
    reorderBytes: 1 << 20,
  };
  const ring = new Ring(
    planRing({
      bufferBytes: 4 * TICK_BYTES_MAX,
      bufferTicks,
      tickBytesMax: TICK_BYTES_MAX,
      batchTicksMax: 16,
    }),
  );
  const batches: SealedBatch[] = [];
  const gaps: string[] = [];
  const repeats: string[] = [];
  let paused = false;
  const time = { ms: 0 };
  const start = { expected, stored: [], openGaps: openGaps.map(([first, last]) => ({ first, last })) };
  const reader = new FrameReader(
    ring,
    limits,
    start,
    {
      repeated: ({ number, isOwn, bytes }) =>
        repeats.push(`${number} ${isOwn ? 'own' : 'stream'} ${bytes.length}`) > 0,
      mayJump: () => true,
      sealed: (batch) => batches.push(batch),
      gaps: (declared) => gaps.push(...declared.map(({ first, last }) => `${first}-${last}`)),
      pause: () => (paused = true),
      resume: () => (paused = false),
    },
    () => time.ms,
  );
  const free = (batch: SealedBatch): void => {
    if (batch.slab !== null) ring.free(batch.slab);
    ring.addBufferedTicks(-batch.ticks);
    ring.addInFlight(-1);
  };
  return { reader, ring, batches, gaps, repeats, isPaused: () => paused, time, free };
}

const fetched = (...numbers: bigint[]): FetchedFrame[] =>
  numbers.map((number) => ({ number, due: number, bytes: frame(number) }));
const ranges = (batches: SealedBatch[]): string[] =>
  batches.map(({ first, ticks, fills }) => `${first}-${first + BigInt(ticks) - 1n}${fills ? ' fills' : ''}`);

void test('fetched frames are a batch of their own, whatever the stream sends between', async (t) => {
  const { reader, batches } = open(10n, [[2n, 6n]]);
  reader.frame(frame(10n));
  reader.fillGaps(fetched(2n, 3n, 4n, 5n));
  t.notOk(reader.filling);
  reader.frame(frame(11n));
  reader.drain();
  t.strictSame(ranges(batches), ['10-10', '2-5 fills', '11-11']);
});

void test('holes that are given up are told, and what is missing is known', async (t) => {
  const { reader, gaps } = open(10n, [[2n, 6n]]);
  for (const number of [13n, 14n, 15n, 16n]) reader.frame(frame(number));
  t.strictSame(gaps, ['10-12']);
  t.strictSame(reader.missing({ first: 0n, last: 100n }), { first: 2n, last: 6n });
  reader.fillGaps(fetched(2n, 3n));
  t.strictSame(reader.missing({ first: 0n, last: 100n }), { first: 4n, last: 6n });
  t.strictSame(reader.missing({ first: 7n, last: 100n }), { first: 10n, last: 12n });
  t.equal(reader.missing({ first: 7n, last: 9n }), null);
});

void test('the stream and the filler bring the same number: it is stored once', async (t) => {
  const { reader, batches } = open(10n, [[2n, 4n]]);
  reader.frame(frame(3n));
  reader.fillGaps(fetched(2n, 3n, 4n));
  reader.frame(frame(4n));
  reader.drain();
  t.strictSame(ranges(batches), ['3-3 fills', '2-2 fills', '4-4 fills']);
  t.equal(reader.counts.repeated, 1, "what was fetched in vain is nobody's repetition");
});

void test('a number that comes twice among the fetched frames is compared: the first may have been bad', async (t) => {
  const { reader, batches, repeats } = open(10n, [[2n, 4n]]);
  const [second, third] = fetched(2n, 3n);
  reader.fillGaps([second, { ...second, bytes: frame(2n, 300) }, third]);
  t.notOk(reader.filling);
  reader.drain();
  t.strictSame(ranges(batches), ['2-3 fills']);
  t.strictSame(repeats, [`2 own ${frame(2n, 300).length}`]);
});

void test('while everybody is busy the stream goes first, but not for ever', async (t) => {
  const { reader, batches, ring, time, free } = open(10n, [[1n, 5n]]);
  for (let number = 10n; number < 18n; number += 1n) reader.frame(frame(number));
  t.equal(ring.inFlight, 2, 'as many as may be');
  reader.fillGaps(fetched(1n, 2n, 5n));
  reader.frame(frame(18n));
  t.ok(reader.filling);
  time.ms = 99;
  reader.turn();
  t.ok(reader.filling);
  time.ms = 100;
  reader.turn();
  t.ok(reader.filling, 'one run is in, the other one waits');
  t.strictSame(ranges(batches).slice(2), ['18-18']);
  for (const batch of batches.splice(0)) free(batch);
  time.ms = 110;
  reader.turn();
  reader.drain();
  t.strictSame(ranges(batches), ['1-2 fills', '5-5 fills']);
});

void test('what continues the open batch goes at once: it grows while everybody is busy', async (t) => {
  const { reader, batches } = open(10n, [[1n, 9n]]);
  reader.fillGaps(fetched(1n, 2n, 3n, 4n));
  reader.fillGaps(fetched(5n, 6n, 7n, 8n));
  reader.fillGaps(fetched(9n));
  t.ok(reader.filling, 'two batches are under way: another one has to wait');
  reader.turn();
  t.strictSame(ranges(batches), ['1-4 fills', '5-8 fills']);

  const other = open(10n, [[1n, 9n]]);
  other.ring.addInFlight(1);
  other.reader.fillGaps(fetched(1n, 2n));
  other.ring.addInFlight(1);
  for (const number of [3n, 4n, 5n, 6n, 7n]) other.reader.fillGaps(fetched(number));
  t.notOk(other.reader.filling);
  t.strictSame(other.batches, []);
});

void test('a run that finds no room for too long keeps the stream waiting until it is in', async (t) => {
  const { reader, batches, time, free, isPaused } = open(10n, [[1n, 1n]]);
  const large: FetchedFrame = { number: 1n, due: 1n, bytes: frame(1n, 9000) };
  reader.frame(frame(10n));
  reader.fillGaps([large]);
  t.ok(reader.filling, 'too large for a slab: it goes alone');
  time.ms = 100;
  reader.turn();
  t.ok(isPaused());
  reader.frame(frame(11n));
  reader.turn();
  t.ok(isPaused(), 'what came meanwhile does not overtake it');
  for (const batch of batches.splice(0)) free(batch);
  reader.turn();
  t.notOk(reader.filling);
  t.strictSame(ranges(batches), ['1-1 fills']);
  for (const batch of batches.splice(0)) free(batch);
  reader.turn();
  t.notOk(isPaused());
  reader.drain();
  t.strictSame(ranges(batches), ['11-11']);
});

void test('a fetched frame without a number keeps its place', async (t) => {
  const { reader, batches } = open(10n, [[1n, 5n]]);
  const bad = Uint8Array.of(0xff, 0xff);
  reader.fillGaps([...fetched(1n, 2n), { number: null, due: 3n, bytes: bad }, ...fetched(4n)]);
  reader.drain();
  t.strictSame(ranges(batches), ['1-2 fills', '3-2', '4-4 fills']);
  t.equal(batches[1].frames, 1);
});

void test('draining and abandoning forget what was fetched', async (t) => {
  for (const end of ['drain', 'abandon'] as const) {
    const { reader, batches, ring } = open(10n, [[1n, 5n]]);
    for (let number = 10n; number < 18n; number += 1n) reader.frame(frame(number));
    const before = batches.length;
    reader.fillGaps(fetched(1n));
    t.ok(reader.filling);
    reader[end]();
    t.notOk(reader.filling);
    t.equal(batches.length, before);
    t.equal(ring.slabsTaken, 2);
  }
});

void test('any mixture of stream and filler: each number once, nothing left behind', async () => {
  const step = fc.constantFrom('stream', 'fetch', 'late', 'commit', 'time');
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), fc.constantFrom(6, 1000), (steps, bufferTicks) => {
      const h = open(100n, [[1n, 60n]], bufferTicks);
      const stored: bigint[] = [];
      let next = 100n;
      let low = 1n;
      const take = (): void => {
        for (const batch of h.batches.splice(0)) {
          for (let n = batch.first; n < batch.first + BigInt(batch.ticks); n += 1n) stored.push(n);
          h.free(batch);
        }
        h.reader.turn();
      };
      for (const one of steps) {
        if (one === 'stream') h.reader.frame(frame(next++));
        else if (one === 'late') h.reader.frame(frame(low + 1n));
        else if (one === 'fetch' && !h.reader.filling && low < 55n) {
          h.reader.fillGaps(fetched(low, low + 1n, low + 3n));
          low += 4n;
        } else if (one === 'commit') take();
        else if (one === 'time') h.time.ms += 60;
      }
      for (let round = 0; round < 300; round += 1) {
        h.time.ms += 100;
        take();
      }
      assert.ok(!h.reader.filling);
      for (let round = 0; round < 50 && !h.reader.drain(); round += 1) take();
      take();
      assert.equal(new Set(stored).size, stored.length, 'nothing twice');
      for (let n = 100n; n < next; n += 1n) assert.ok(stored.includes(n), `${n} of the stream`);
      for (let n = 1n; n < low; n += 4n)
        assert.ok(stored.includes(n) && stored.includes(n + 3n), `${n} fetched`);
      assert.equal(h.ring.slabsTaken, 0);
      assert.equal(h.ring.bufferedTicks, 0);
    }),
    { numRuns: 200 },
  );
});
