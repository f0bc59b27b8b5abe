import { test } from 'tap';
import type { SealedBatch } from '../../../../src/ingest/reader/batch-builder.ts';
import type { ParsedBatch } from '../../../../src/ingest/parser/parse.ts';
import type { CommittedBatch } from '../../../../src/ingest/pipeline/commit.ts';
import { Pipeline } from '../../../../src/ingest/pipeline/pipeline.ts';
import type { PipelineThreads } from '../../../../src/ingest/pipeline/host.ts';
import { planRing, Ring } from '../../../../src/ingest/ring.ts';
import type { EarlierAttempt, Unconnected, WriteOutcome } from '../../../../src/ingest/writer/outcome.ts';
import type { BatchWrite } from '../../../../src/store/chain/batch.ts';
import type { LedgerState } from '../../../../src/store/chain/ledger.ts';

interface Writing {
  writer: number;
  batch: BatchWrite;
  unknown: boolean;
  resolve: (outcome: WriteOutcome) => void;
  reject: (error: Error) => void;
}

interface PipelineHarness {
  pipeline: Pipeline;
  ring: Ring;
  writing: Writing[];
  committed: CommittedBatch[];
  origins: bigint[];
  fenced: bigint[];
  seal: (first: bigint, ticks: number, more?: Partial<SealedBatch>) => void;
}

const COMMITTED: WriteOutcome = {
  kind: 'committed',
  resolved: false,
  ambiguous: 0,
  durationMs: 1,
  brokenLinks: [],
};
/** Everything that is due in promises has happened. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function harness(writers = 2, failParses = 0, threads: Partial<PipelineThreads> = {}): PipelineHarness {
  const ring = new Ring(
    planRing({ bufferBytes: 1 << 20, bufferTicks: 1000, tickBytesMax: 4096, batchTicksMax: 100 }),
  );
  const writing: Writing[] = [];
  const committed: CommittedBatch[] = [];
  const origins: bigint[] = [];
  const fenced: bigint[] = [];
  let failures = failParses;
  const pipeline = new Pipeline(
    ring,
    {
      writers,
      parse: async ({ batch }): Promise<ParsedBatch> => {
        if (failures > 0) {
          failures -= 1;
          throw new Error('the parser died');
        }
        const nothing = new Uint8Array(new SharedArrayBuffer(8));
        return {
          ticks: batch.ticks,
          transactions: 0,
          deadLetters: [],
          lastTimestampMicros: 0n,
          linkBreaks: 0,
          alarms: [],
          boundary: 'holds',
          copy: { ticks: nothing, proofs: nothing, transactions: nothing },
        };
      },
      connect: async () => null,
      disconnect: () => {},
      write: (writer, batch, { unknown }) =>
        new Promise((resolve, reject) => {
          writing.push({ writer, batch, unknown, resolve, reject });
        }),
      ...threads,
      credit: () => {},
    },
    { tickBytesMax: 4096, chainCheck: 'link', answerMs: 1000, nowMicros: () => 1_755_945_303_178_360n },
    { log: () => {}, clock: { nowMicros: () => 0n, monotonicMs: () => 0 }, random: Math.random },
    { committed: (batch) => committed.push(batch) },
    {
      recordOrigin: async (first) => {
        origins.push(first);
        return first;
      },
      admit: () => true,
      committed: () => {},
      fenced: (epoch) => fenced.push(epoch),
    },
  );
  const seal: PipelineHarness['seal'] = (first, ticks, more = {}) => {
    const slab = ring.take();
    if (slab === undefined) throw new Error('the ring is full');
    ring.addBufferedTicks(ticks);
    ring.addInFlight(1);
    pipeline.sealed({
      slab: slab.id,
      side: null,
      frames: ticks,
      ticks,
      first,
      bytes: 10 * ticks,
      gaps: [],
      fills: false,
      previous: null,
      openedMs: 0,
      ...more,
    });
  };
  return { pipeline, ring, writing, committed, origins, fenced, seal };
}

const empty = { origin: null, position: null, storedAhead: [], openGaps: [], unfillable: [] };
const at = (position: bigint): Omit<LedgerState, 'brake'> => ({ ...empty, origin: 1n, position });
const firsts = (writing: Writing[]): (bigint | undefined)[] => writing.map(({ batch }) => batch.range?.first);

void test('nothing is written before the origin is recorded', async (t) => {
  const { pipeline, origins, writing, seal } = harness();
  pipeline.start(1n, empty);
  seal(100n, 10);
  seal(110n, 10);
  await settle();
  t.strictSame(origins, [100n]);
  t.strictSame(firsts(writing), [100n, 110n]);
  t.equal(pipeline.progress?.position, 99n);
});

void test('batches commit in any order; the position is the end of the contiguous prefix', async (t) => {
  const { pipeline, writing, seal, ring } = harness();
  pipeline.start(1n, at(9n));
  seal(10n, 10);
  seal(20n, 5);
  await settle();
  writing[1]?.resolve(COMMITTED);
  await settle();
  t.equal(pipeline.progress?.position, 9n);
  t.equal(pipeline.quietUpTo, 9n);
  writing[0]?.resolve(COMMITTED);
  await settle();
  t.equal(pipeline.progress?.position, 24n);
  t.equal(ring.slabsTaken, 0);
  t.equal(ring.bufferedTicks, 0);
  t.equal(ring.inFlight, 0);
});

void test('a batch that fills a gap waits until everything before it is committed', async (t) => {
  const { pipeline, writing, seal } = harness();
  pipeline.start(1n, at(9n));
  seal(15n, 5, { gaps: [{ first: 10n, last: 14n }] });
  seal(12n, 1, { fills: true });
  seal(20n, 5);
  await settle();
  t.strictSame(firsts(writing), [15n, 20n]);
  writing[0]?.resolve(COMMITTED);
  await settle();
  t.strictSame(firsts(writing), [15n, 20n, 12n]);
  t.equal(pipeline.progress?.position, 19n, 'a gap does not hold the position');
  t.equal(pipeline.progress?.completeUpTo, 9n, 'but what is complete ends below it');
  writing[2]?.resolve(COMMITTED);
  await settle();
  t.strictSame(pipeline.progress?.openGaps, [
    { first: 10n, last: 11n },
    { first: 13n, last: 14n },
  ]);
});

void test('a writer that dies costs a second attempt with the same bytes and an unknown outcome', async (t) => {
  const { pipeline, writing, seal, committed } = harness(1);
  pipeline.start(1n, at(9n));
  seal(10n, 10);
  await settle();
  writing[0]?.reject(new Error('the thread ended'));
  await settle();
  t.equal(writing.length, 2);
  t.ok(writing[1]?.unknown);
  t.equal(writing[1]?.batch.copy.ticks.buffer, writing[0]?.batch.copy.ticks.buffer);
  writing[1]?.resolve(COMMITTED);
  await settle();
  t.equal(committed.length, 1);
});

void test('a parser that dies costs a second parse', async (t) => {
  const { pipeline, writing, seal } = harness(1, 1);
  pipeline.start(1n, at(9n));
  seal(10n, 10);
  for (let turn = 0; turn < 1000 && writing.length === 0; turn += 1) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  t.strictSame(firsts(writing), [10n]);
});

void test('a fenced writer says so and its batch is forgotten', async (t) => {
  const { pipeline, writing, seal, fenced, committed, ring } = harness();
  pipeline.start(7n, at(9n));
  seal(10n, 10);
  await settle();
  writing[0]?.resolve({ kind: 'fenced' });
  await settle();
  t.strictSame(fenced, [7n]);
  t.equal(committed.length, 0);
  t.equal(pipeline.progress, null, 'the run is over');
  t.equal(ring.slabsTaken, 0);
});

void test('after a fence everything that waits is forgotten, and what comes still', async (t) => {
  const { pipeline, writing, seal, ring } = harness(1);
  pipeline.start(7n, at(9n));
  seal(10n, 10);
  seal(20n, 10);
  await settle();
  writing[0]?.resolve({ kind: 'fenced' });
  await pipeline.settled();
  seal(30n, 10);
  await settle();
  t.equal(writing.length, 1);
  t.equal(ring.slabsTaken, 0);
});

void test('the origin is the first batch in the order of sealing, also when a later one is parsed first', async (t) => {
  const { pipeline, origins, writing, seal } = harness(2, 1);
  pipeline.start(1n, empty);
  seal(1n, 10); // its parser dies
  seal(11n, 10);
  await settle();
  t.strictSame(origins, [1n]);
  writing[0]?.resolve(COMMITTED);
  await settle();
  t.strictSame(firsts(writing), [11n]);
  t.equal(pipeline.progress?.position, 0n, 'the position waits for the first batch');
});

void test('gaps of a batch without a range are recorded all the same', async (t) => {
  const { pipeline, writing, seal } = harness();
  pipeline.start(1n, at(9n));
  seal(15n, 0, { frames: 1, gaps: [{ first: 10n, last: 14n }] });
  await settle();
  writing[0]?.resolve(COMMITTED);
  await settle();
  t.equal(pipeline.progress?.position, 14n);
});

void test('stopping forgets what no writer has and waits for what one has', async (t) => {
  const { pipeline, writing, seal, ring } = harness(1);
  pipeline.start(1n, at(9n));
  seal(10n, 10);
  seal(20n, 10);
  await settle();
  let stopped = false;
  const stopping = pipeline.stop().then(() => {
    stopped = true;
  });
  await settle();
  t.notOk(stopped);
  t.equal(ring.slabsTaken, 1);
  writing[0]?.resolve(COMMITTED);
  await stopping;
  t.equal(writing.length, 1);
  t.equal(ring.slabsTaken, 0);
});

const unconnected = (more: Partial<Unconnected> = {}): Unconnected => ({
  kind: 'unconnected',
  error: 'too many connections for role "mdp"',
  sqlstate: '53300',
  unknown: false,
  orphans: [],
  ...more,
});

void test('a batch goes to a writer that has a connection; those that get none hold nothing', async (t) => {
  const tries: number[] = [];
  const { pipeline, writing, seal } = harness(4, 0, {
    connect: async (writer) => {
      tries.push(writer);
      return writer === 2 ? null : unconnected();
    },
  });
  pipeline.start(1n, at(9n));
  for (const first of [10n, 20n, 30n, 40n]) seal(first, 10);
  await settle();
  t.strictSame(tries.slice(0, 4), [0, 1, 2, 3]);
  t.equal(pipeline.writers.connected, 1);
  for (const first of [10n, 20n, 30n, 40n]) {
    const written = writing.at(-1);
    t.match(written, { writer: 2, batch: { range: { first } }, unknown: false });
    written?.resolve(COMMITTED);
    await settle();
  }
  t.equal(pipeline.progress?.position, 49n);
  await pipeline.settled();
});

void test('a batch whose writer lost its connection goes to another one, with what may still be at it', async (t) => {
  const earlier: EarlierAttempt[] = [];
  const outcomes: ((outcome: WriteOutcome) => void)[] = [];
  const { pipeline, seal } = harness(2, 0, {
    write: (_writer, _batch, { unknown, orphans }) => {
      earlier.push({ unknown, orphans });
      return new Promise((resolve) => outcomes.push(resolve));
    },
  });
  pipeline.start(1n, at(9n));
  seal(10n, 10);
  seal(20n, 10);
  await settle();
  const orphans = [{ pid: 7, started: 'then' }];
  outcomes[0](unconnected({ unknown: true, orphans }));
  outcomes[1](COMMITTED);
  await settle();
  t.strictSame(earlier[2], { unknown: true, orphans });
  outcomes[2](COMMITTED);
  await settle();
  t.equal(pipeline.progress?.position, 29n);
  // the next batch begins anew
  seal(30n, 10);
  await settle();
  t.strictSame(earlier[3], { unknown: false, orphans: [] });
});

void test('a writer gives up its connection for another session, but never the last one', async (t) => {
  const left: number[] = [];
  const { pipeline, writing, seal } = harness(3, 0, { disconnect: (writer) => left.push(writer) });
  pipeline.start(1n, at(9n));
  for (const first of [10n, 20n, 30n]) seal(first, 10);
  await settle();
  t.equal(pipeline.writers.connected, 3);
  const refused = (): Promise<unknown> =>
    t.rejects(pipeline.writers.before(() => Promise.reject(new Error('53300'))));
  await refused();
  t.strictSame(left, [], 'all of them write');
  writing[0]?.resolve(COMMITTED);
  await settle();
  t.strictSame(left, [0], 'the first that is done');
  writing[1]?.resolve(COMMITTED);
  await settle();
  t.strictSame(left, [0]);
  await refused();
  await refused();
  t.strictSame(left, [0, 1]);
  for (const first of [40n, 50n, 60n]) seal(first, 10);
  await settle();
  t.equal(pipeline.writers.connected, 1, 'and none is opened meanwhile');
  await pipeline.writers.before(async () => {});
  await settle();
  t.equal(pipeline.writers.connected, 3);
});
