import assert from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import { encodeTick } from '../../../../src/core/chain/encode.ts';
import { tickDigest } from '../../../../src/core/chain/digest.ts';
import type { Tick } from '../../../../src/core/chain/tick.ts';
import { FRAME_UNNUMBERED, INDEX_WORDS } from '../../../../src/core/copy/transcode.ts';
import type { CommittedBatch } from '../../../../src/ingest/pipeline/commit.ts';
import type { SealedBatch } from '../../../../src/ingest/reader/batch-builder.ts';
import { BatchParser, type ParseTask } from '../../../../src/ingest/parser/parse.ts';
import { Pipeline } from '../../../../src/ingest/pipeline/pipeline.ts';
import { planRing, Ring } from '../../../../src/ingest/ring.ts';
import type { WriteOutcome } from '../../../../src/ingest/writer/outcome.ts';
import type { BatchWrite } from '../../../../src/store/chain/batch.ts';
import type { LedgerState } from '../../../../src/store/chain/ledger.ts';

const MALFORMED = Uint8Array.of(0xff, 0xff);
const COMMITTED: WriteOutcome = {
  kind: 'committed',
  resolved: false,
  ambiguous: 0,
  durationMs: 1,
  brokenLinks: [],
};
const refused = (sqlstate = '23514'): WriteOutcome => ({
  kind: 'refused',
  sqlstate,
  message: 'no',
  stored: null,
});
const ascending = (a: bigint, b: bigint): number => (a < b ? -1 : a > b ? 1 : 0);
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const outputOf = (number: bigint): string => number.toString(16).padStart(64, '0');

function tick(number: bigint): Tick {
  return {
    tickNumber: number,
    vdfProof: { input: 'ab'.repeat(32), output: outputOf(number), proof: '01', iterations: 0n },
    transactions: [],
    transactionBatchHash: 'cd'.repeat(32),
    timestamp: 1_755_945_303_178_360n,
    previousOutput: outputOf(number - 1n),
  };
}

interface Writing {
  batch: BatchWrite;
  unknown: boolean;
  isDivisible: boolean;
  resolve: (outcome: WriteOutcome) => void;
  reject: (error: Error) => void;
}

/** A pipeline with a real ring and the real parser; its writes wait for the test. */
class PipelineHarness {
  readonly ring = new Ring(
    planRing({ bufferBytes: 1 << 22, bufferTicks: 1000, tickBytesMax: 1 << 19, batchTicksMax: 100 }),
  );
  readonly writing: Writing[] = [];
  readonly committed: CommittedBatch[] = [];
  /** fields of the log lines that tell of it */
  readonly refused: Readonly<Record<string, unknown>>[] = [];
  readonly tasks: ParseTask[] = [];
  credits = 0;
  failParses = 0;
  readonly pipeline: Pipeline;

  constructor(writers = 2, admit: (deadLetters: number) => boolean = () => true) {
    const parser = new BatchParser(this.ring);
    this.pipeline = new Pipeline(
      this.ring,
      {
        writers,
        parse: async (task) => {
          this.tasks.push(task);
          if (this.failParses > 0) {
            this.failParses -= 1;
            throw new Error('the parser died');
          }
          return parser.parse(task);
        },
        connect: async () => null,
        disconnect: () => {},
        write: (_writer, batch, attempt) =>
          new Promise((resolve, reject) => this.writing.push({ batch, ...attempt, resolve, reject })),
        credit: () => {
          this.credits += 1;
        },
      },
      { tickBytesMax: 4096, chainCheck: 'link', answerMs: 1000, nowMicros: () => 1_755_945_303_178_360n },
      {
        log: (level, _message, fields) => void (level === 'warn' && this.refused.push(fields)),
        clock: { nowMicros: () => 1_755_945_303_178_360n, monotonicMs: () => 0 },
        random: Math.random,
      },
      { committed: (batch) => this.committed.push(batch) },
      { recordOrigin: async (first) => first, admit, committed: () => {}, fenced: () => {} },
    );
  }

  /** u: a frame without a number; otherwise ticks from `first` on. */
  seal(first: bigint, frames: string, more: Partial<SealedBatch> = {}): void {
    const slab = this.ring.take();
    if (slab === undefined) throw new Error('the ring is full');
    let at = 0;
    let number = first;
    Array.from(frames).forEach((kind, frame) => {
      const bytes = kind === 'u' ? MALFORMED : encodeTick(tick(number));
      if (kind !== 'u') number += 1n;
      slab.bytes.set(bytes, at);
      slab.index.set([at, bytes.length, kind === 'u' ? FRAME_UNNUMBERED : 0], frame * INDEX_WORDS);
      at += bytes.length;
    });
    const ticks = Number(number - first);
    this.ring.addBufferedTicks(ticks);
    this.ring.addInFlight(1);
    this.pipeline.sealed({
      slab: slab.id,
      side: null,
      frames: frames.length,
      ticks,
      first,
      bytes: at,
      gaps: [],
      fills: false,
      previous: null,
      openedMs: 0,
      ...more,
    });
  }

  /** Lets the "database" answer until nothing is under way; returns the batches that it took. */
  async run(database: (writing: Writing, writes: number) => WriteOutcome | Error): Promise<BatchWrite[]> {
    const taken: BatchWrite[] = [];
    let writes = 0;
    for (let idle = 0; idle < 3;) {
      await settle();
      const next = this.writing.shift();
      if (next === undefined) {
        idle += 1;
        continue;
      }
      idle = 0;
      const outcome = database(next, (writes += 1));
      if (outcome instanceof Error) next.reject(outcome);
      else {
        if (outcome.kind === 'committed') taken.push(next.batch);
        next.resolve(outcome);
      }
    }
    return taken;
  }

  assertEmpty(): void {
    assert.deepEqual([this.ring.slabsTaken, this.ring.bufferedTicks, this.ring.inFlight], [0, 0, 0]);
  }
}

const at = (position: bigint): Omit<LedgerState, 'brake'> => ({
  origin: 1n,
  position,
  storedAhead: [],
  openGaps: [],
  unfillable: [],
});

/** A database that refuses rows of these ticks. */
const refusing =
  (bad: ReadonlySet<bigint>) =>
  ({ batch }: Writing): WriteOutcome => {
    if (batch.ticks === 0 || batch.range === null) return COMMITTED;
    const dead = batch.deadLetters.map(({ tickNumber }) => tickNumber);
    for (let n = batch.range.first; n <= batch.range.last; n += 1n) {
      if (bad.has(n) && !dead.includes(n)) return refused();
    }
    return COMMITTED;
  };

void test('whatever is refused, each frame is written once, and the refused ones are dead letters with their bytes', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(fc.constantFrom('t', 't', 't', 'u'), { minLength: 1, maxLength: 40 }), {
        minLength: 1,
        maxLength: 4,
      }),
      fc.array(fc.nat(120), { maxLength: 25 }),
      fc.array(fc.nat(60), { maxLength: 6 }),
      async (batches, refusedPlaces, deaths) => {
        const harness = new PipelineHarness(2);
        harness.pipeline.start(7n, at(9n));
        let number = 10n;
        let strays = 0;
        for (const frames of batches) {
          harness.seal(number, frames.join(''));
          number += BigInt(frames.filter((kind) => kind === 't').length);
          strays += frames.filter((kind) => kind === 'u').length;
        }
        const bad = new Set(refusedPlaces.map((place) => 10n + BigInt(place)));
        const database = refusing(bad);
        const taken = await harness.run((writing, writes) =>
          deaths.includes(writes) ? new Error('the thread ended') : database(writing),
        );
        const covered = taken.flatMap(({ range }) =>
          range === null
            ? []
            : Array.from({ length: Number(range.last - range.first) + 1 }, (_, i) => range.first + BigInt(i)),
        );
        const all = Array.from({ length: Number(number - 10n) }, (_, i) => 10n + BigInt(i));
        assert.deepEqual(covered.toSorted(ascending), all, 'each number in one transaction');
        const letters = taken.flatMap(({ deadLetters }) => deadLetters);
        const isolated = letters.filter(({ reason }) => reason === 'refused_by_database');
        assert.deepEqual(
          isolated.flatMap(({ tickNumber }) => tickNumber ?? []).toSorted(ascending),
          all.filter((n) => bad.has(n)),
        );
        for (const { tickNumber, raw, sqlstate } of isolated) {
          assert.deepEqual(Buffer.from(raw), Buffer.from(encodeTick(tick(tickNumber!))));
          assert.equal(sqlstate, '23514');
        }
        assert.equal(letters.length - isolated.length, strays);
        assert.equal(
          taken.reduce((sum, batch) => sum + batch.ticks, 0),
          all.length - isolated.length,
        );
        assert.equal(harness.pipeline.progress?.position, number - 1n);
        assert.equal(harness.credits, batches.length);
        assert.equal(
          harness.committed.reduce((sum, batch) => sum + batch.bytes, 0),
          all.reduce((sum, n) => sum + encodeTick(tick(n)).length, strays * MALFORMED.length),
        );
        harness.assertEmpty();
      },
    ),
    { numRuns: 150 },
  );
});

void test('a bad tick among n costs about log n more transactions, several no more than that each', async (t) => {
  for (const [bad, most] of [
    [1, 16],
    [5, 60],
    [100, 300],
  ] as const) {
    const harness = new PipelineHarness();
    harness.pipeline.start(1n, at(9n));
    harness.seal(10n, 't'.repeat(100));
    let writes = 0;
    const database = refusing(new Set(Array.from({ length: bad }, (_, i) => 10n + BigInt(i * (100 / bad)))));
    await harness.run((writing) => {
      writes += 1;
      return database(writing);
    });
    t.ok(writes <= most, `${bad} bad ones: ${writes} transactions`);
    t.equal(harness.committed.filter(({ isolated }) => isolated !== null).length, bad);
    t.equal(harness.refused.length, 1, 'told once');
    harness.assertEmpty();
  }
});

void test('gaps are recorded with the first part that has a number', async (t) => {
  const harness = new PipelineHarness(1);
  harness.pipeline.start(1n, at(9n));
  const gaps = [{ first: 10n, last: 14n }];
  harness.seal(15n, 'uuuttt', { gaps });
  const taken = await harness.run(refusing(new Set([15n])));
  t.strictSame(
    taken.filter((batch) => batch.gaps.length > 0).map(({ range, ticks }) => ({ range, ticks })),
    [{ range: { first: 15n, last: 15n }, ticks: 0 }],
  );
  t.strictSame(harness.pipeline.progress?.openGaps, gaps);
  t.equal(harness.pipeline.progress?.position, 17n);
});

void test('parts of a batch that fills gaps keep their order and wait for what is before them; nobody overtakes', async (t) => {
  const harness = new PipelineHarness(2);
  harness.pipeline.start(1n, { ...at(30n), unfillable: [], openGaps: [{ first: 10n, last: 20n }] });
  harness.seal(31n, 'tt', { previous: 'ff' });
  harness.seal(10n, 'tttt', { fills: true });
  harness.seal(14n, 'tt', { fills: true });
  const order: string[] = [];
  await harness.run(({ batch }) => {
    const outcome = refusing(new Set([11n, 32n]))({ batch } as Writing);
    if (outcome.kind === 'committed') order.push(`${batch.range?.first}-${batch.range?.last}`);
    return outcome;
  });
  t.strictSame(order, ['31-31', '32-32', '10-10', '11-11', '12-13', '14-15']);
  t.strictSame(harness.pipeline.progress?.openGaps, [{ first: 16n, last: 20n }]);
});

void test('stopped in the middle: what is at a writer is finished, the rest is forgotten, the slab is free', async (t) => {
  for (const outcome of [refused(), COMMITTED]) {
    const harness = new PipelineHarness(1);
    harness.pipeline.start(1n, at(9n));
    harness.seal(10n, 't'.repeat(8));
    await settle();
    harness.writing.shift()?.resolve(refused());
    await settle();
    const half = harness.writing.shift();
    t.strictSame(half?.batch.range, { first: 10n, last: 13n });
    const stopping = harness.pipeline.stop();
    half?.resolve(outcome);
    await stopping;
    await settle();
    t.equal(harness.writing.length, 0);
    harness.assertEmpty();
    // the next run begins where the ledger is
    harness.pipeline.start(2n, at(13n));
    harness.seal(14n, 'tt');
    await harness.run(() => COMMITTED);
    t.equal(harness.pipeline.progress?.position, 15n);
    harness.assertEmpty();
  }
});

void test('stopped while a part is parsed, fenced in the middle: the slab is free', async () => {
  const parsing = new PipelineHarness(1);
  parsing.pipeline.start(1n, at(9n));
  parsing.seal(10n, 'tttt');
  await settle();
  parsing.writing.shift()?.resolve(refused());
  await parsing.pipeline.stop();
  await settle();
  assert.equal(parsing.writing.length, 0);
  parsing.assertEmpty();

  const fenced = new PipelineHarness(1);
  fenced.pipeline.start(1n, at(9n));
  fenced.seal(10n, 'tttt');
  await settle();
  fenced.writing.shift()?.resolve(refused());
  await settle();
  fenced.writing.shift()?.resolve({ kind: 'fenced' });
  await settle();
  assert.equal(fenced.pipeline.progress, null);
  fenced.assertEmpty();
});

void test('a parser that dies while a part is parsed costs a second parse', async (t) => {
  const harness = new PipelineHarness(1);
  harness.pipeline.start(1n, at(9n));
  harness.seal(10n, 'tt');
  await settle();
  harness.failParses = 1;
  harness.writing.shift()?.resolve(refused());
  for (let turn = 0; turn < 1000 && harness.writing.length === 0; turn += 1) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const taken = await harness.run(() => COMMITTED);
  t.strictSame(
    taken.map(({ range }) => range?.first),
    [10n, 11n],
  );
  harness.assertEmpty();
});

void test('a tick that is stored already: the same one is booked, another one is a conflict beside it', async (t) => {
  const same = { sha256: tickDigest(tick(10n)), transactions: 3 };
  const other = { sha256: tickDigest(tick(12n)), transactions: 0 };
  for (const [stored, reasons] of [
    [same, []],
    [other, ['conflict']],
  ] as const) {
    const harness = new PipelineHarness(1);
    harness.pipeline.start(1n, at(9n));
    harness.seal(10n, 't');
    const taken = await harness.run(({ batch }) =>
      batch.ticks > 0 ? { kind: 'refused', sqlstate: '23505', message: 'twice', stored } : COMMITTED,
    );
    t.equal(taken.length, 1);
    t.strictSame(taken[0].present, { ticks: 1, transactions: stored.transactions });
    t.strictSame(
      taken[0].deadLetters.map(({ reason }) => reason),
      reasons,
    );
    t.equal(taken[0].deadLetters[0]?.storedSha256 ?? null, reasons.length === 0 ? null : other.sha256);
    t.equal(harness.committed[0].isolated?.reason, reasons[0] ?? 'stored');
    t.equal(harness.pipeline.progress?.position, 10n);
  }
});

void test('a long message of the server is cut', async (t) => {
  const harness = new PipelineHarness(1);
  harness.pipeline.start(1n, at(9n));
  harness.seal(10n, 't');
  const message = `${'a'.repeat(499)}🦀${'b'.repeat(9000)}`;
  const [taken] = await harness.run(({ batch }) =>
    batch.ticks > 0 ? { kind: 'refused', sqlstate: '22021', message, stored: null } : COMMITTED,
  );
  t.equal(taken.deadLetters[0].detail, `${'a'.repeat(499)}\uFFFD…`);
});

void test('which batches compare their links with the store, and wait for all before them', async (t) => {
  const harness = new PipelineHarness(4);
  harness.pipeline.start(1n, { ...at(9n), storedAhead: [{ first: 30n, last: 39n }] });
  harness.seal(10n, 'tt', { previous: outputOf(9n) }); // continues
  harness.seal(12n, 'tt', { previous: outputOf(5n) }); // does not: is the tick before stored at all?
  harness.seal(15n, 'tt', { gaps: [{ first: 14n, last: 14n }] }); // whoever fills the gap will ask
  harness.seal(28n, 'tt', { previous: outputOf(27n) }); // below what an earlier run has stored
  await settle();
  t.strictSame(
    harness.writing.map(({ batch }) => batch.range?.first),
    [10n, 15n],
  );
  const taken = await harness.run(() => COMMITTED);
  harness.seal(40n, 'tt'); // above it
  taken.push(...(await harness.run(() => COMMITTED)));
  t.strictSame(
    taken
      .map(({ range, checkLinks }) => [range?.first, checkLinks])
      .toSorted((a, b) => Number(a[0]) - Number(b[0])),
    [
      [10n, false],
      [12n, true],
      [15n, false],
      [28n, true],
      [40n, true],
    ],
  );
  harness.assertEmpty();
});

/** A database that has no answer in time to more frames than this. */
const slow =
  (framesMax: number) =>
  ({ batch, isDivisible }: Writing): WriteOutcome => {
    const frames = batch.ticks + batch.deadLetters.length;
    if (frames <= framesMax) return { ...COMMITTED, durationMs: (1000 * frames) / framesMax };
    assert.ok(isDivisible, 'a single frame is waited for');
    return { kind: 'late', ambiguous: 1, error: 'no answer for 1000 ms' };
  };

void test('a batch that is not answered in time is cut until its parts are, and so are those that wait', async () => {
  const harness = new PipelineHarness(2);
  harness.pipeline.start(1n, at(9n));
  harness.seal(10n, 't'.repeat(100));
  harness.seal(110n, 't'.repeat(50) + 'u' + 't'.repeat(49));
  harness.seal(209n, 't'.repeat(100));
  let late = 0;
  const taken = await harness.run((writing) => {
    const outcome = slow(30)(writing);
    if (outcome.kind === 'late') late += 1;
    return outcome;
  });
  const numbers = taken.flatMap(({ range }) =>
    range === null
      ? []
      : Array.from({ length: Number(range.last - range.first) + 1 }, (_, n) => range.first + BigInt(n)),
  );
  assert.deepEqual(
    numbers.toSorted(ascending),
    Array.from({ length: 299 }, (_, n) => 10n + BigInt(n)),
  );
  assert.equal(taken.flatMap(({ deadLetters }) => deadLetters).length, 1);
  // two of 100, then two of 50: the third batch is never sent whole
  assert.ok(late <= 4, `${late} late`);
  assert.equal(harness.pipeline.progress?.position, 308n);
  const ambiguous = harness.committed.reduce((sum, batch) => sum + batch.ambiguous, 0);
  assert.equal(ambiguous, late, 'each COMMIT without an answer is counted once');
  harness.assertEmpty();
});

void test('what comes next is no larger than what was answered, and grows again', async () => {
  const harness = new PipelineHarness(1);
  harness.pipeline.start(1n, at(9n));
  harness.seal(10n, 't'.repeat(100));
  const sizes = (await harness.run(slow(60))).map(({ ticks }) => ticks);
  assert.deepEqual(sizes, [50, 50]);
  assert.equal(harness.ring.batchFramesMax, 50, 'the reader goes by it');
  for (let first = 110n; first < 210n; first += 50n) harness.seal(first, 't'.repeat(50));
  await harness.run(slow(1000));
  assert.equal(harness.ring.batchFramesMax, 100, 'after two quick ones');
});

void test('the brake counts the dead letters of a batch once, however it is cut', async () => {
  const admitted: number[] = [];
  const harness = new PipelineHarness(1, (count) => admitted.push(count) > 0);
  harness.pipeline.start(1n, at(9n));
  harness.seal(10n, 'tutututu');
  harness.seal(14n, 't'.repeat(60) + 'uuuuuuuu');
  await harness.run(slow(4));
  assert.equal(
    admitted.reduce((sum, count) => sum + count, 0),
    12,
  );
  harness.assertEmpty();
});
