import { test } from 'tap';
import { encodeTick } from '../../../../src/core/chain/encode.ts';
import type { SequenceStart } from '../../../../src/core/ingest/sequence.ts';
import type { SealedBatch } from '../../../../src/ingest/reader/batch-builder.ts';
import { FrameReader } from '../../../../src/ingest/reader/frame-reader.ts';
import { planRing, Ring } from '../../../../src/ingest/ring.ts';

const MALFORMED = Uint8Array.of(0xff, 0xff);
const outputOf = (number: bigint): string => number.toString(16).padStart(64, '0');

function frame(number: bigint, output = outputOf(number)): Uint8Array {
  return encodeTick({
    tickNumber: number,
    vdfProof: { input: '', output, proof: '', iterations: 0n },
    transactions: [],
    transactionBatchHash: '',
    timestamp: 1n,
    previousOutput: '',
  });
}

/** Reads the frames with batches of two ticks and no reorder window; which tick's output each batch was given. */
function previousOf(start: SequenceStart, frames: readonly Uint8Array[]): [bigint, string | null][] {
  const ring = new Ring(
    planRing({ bufferBytes: 1 << 22, bufferTicks: 1000, tickBytesMax: 1 << 13, batchTicksMax: 2 }),
  );
  const batches: SealedBatch[] = [];
  const reader = new FrameReader(
    ring,
    {
      batchTicks: 2,
      batchTicksMax: 2,
      flushMs: 0,
      inFlightMax: 1000,
      reorderTicks: 0,
      reorderMs: 0,
      reorderBytes: 1 << 20,
    },
    start,
    {
      repeated: () => true,
      mayJump: () => true,
      gaps: () => {},
      sealed: (batch) => {
        batches.push(batch);
        if (batch.slab !== null) ring.free(batch.slab);
        ring.addInFlight(-1);
      },
      pause: () => {},
      resume: () => {},
    },
    () => 0,
  );
  for (const bytes of frames) {
    reader.frame(bytes);
    reader.turn();
  }
  reader.drain();
  return batches.map(({ first, previous }) => [first, previous]);
}

const from = (expected: bigint | null, more: Partial<SequenceStart> = {}): SequenceStart => ({
  expected,
  stored: [],
  openGaps: [],
  ...more,
});
const frames = (...numbers: bigint[]): Uint8Array[] => numbers.map((number) => frame(number));

void test('a batch knows the output of the tick before it where the reader does', async (t) => {
  t.strictSame(
    previousOf(from(5n, { previousOutput: 'ab' }), frames(5n, 6n, 7n)),
    [
      [5n, 'ab'],
      [6n, outputOf(5n)],
      [7n, outputOf(6n)],
    ],
    'the first one from the store',
  );
  t.strictSame(
    previousOf(from(5n), frames(5n, 6n)),
    [
      [5n, null],
      [6n, outputOf(5n)],
    ],
    'the store does not know it',
  );
  t.strictSame(previousOf(from(null), frames(5n, 6n)), [
    [5n, null],
    [6n, outputOf(5n)],
  ]);
});

void test('not behind a gap, not in one; a batch that fills one leaves what is known as it was', async (t) => {
  t.strictSame(previousOf(from(5n, { previousOutput: 'ab' }), frames(5n, 8n, 6n, 9n, 7n, 10n)), [
    [5n, 'ab'],
    [8n, null],
    [6n, null],
    [9n, outputOf(8n)],
    [7n, null],
    [10n, outputOf(9n)],
  ]);
});

void test('not behind what an earlier run has stored ahead', async (t) => {
  const start = from(5n, { previousOutput: 'ab', stored: [{ first: 6n, last: 7n }] });
  t.strictSame(previousOf(start, frames(5n, 6n, 7n, 8n, 9n)), [
    [5n, 'ab'],
    [8n, null],
    [9n, outputOf(8n)],
  ]);
});

void test('frames without a number stand between without changing it', async (t) => {
  t.strictSame(previousOf(from(5n, { previousOutput: 'ab' }), [MALFORMED, frame(5n), MALFORMED, frame(6n)]), [
    [5n, 'ab'],
    [5n, 'ab'],
    [6n, outputOf(5n)],
    [6n, outputOf(5n)],
  ]);
});

void test('not behind a frame too large for a slab, a malformed proof, or an output of absurd length', async (t) => {
  const large = frame(6n, 'ab'.repeat(1 << 20));
  const long = frame(6n, 'ab'.repeat(2049));
  for (const odd of [large, long]) {
    t.strictSame(previousOf(from(5n), [frame(5n), odd, frame(7n), frame(8n)]).slice(2), [
      [7n, null],
      [8n, outputOf(7n)],
    ]);
  }
});
