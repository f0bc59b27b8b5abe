import { deepStrictEqual } from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import { decodeTick } from '../../../../src/core/chain/decode.ts';
import { encodeTick } from '../../../../src/core/chain/encode.ts';
import { batchHash, txHash, vdfInput, vdfOutput } from '../../../../src/core/chain/hash.ts';
import { Chunk } from '../../../../src/sim/source/chunk.ts';
import { ChunkMaker, chunkTicks, type ChunkReply } from '../../../../src/sim/source/chunk-maker.ts';
import { genesisOutput, transactionCount, type ContentOptions } from '../../../../src/sim/chain/content.ts';

const OPTIONS: ContentOptions = {
  seed: 3,
  first: 100n,
  txs: 'mixed',
  payloadBytes: 528,
  hostile: true,
  oversize: null,
  startMicros: 1_755_943_200_000_000,
  ticksPerSecond: 2500,
  vdf: 'fast',
  forkIndex: null,
};

function chunkOf(reply: ChunkReply): Chunk {
  return new Chunk(reply.chunk * reply.ends.length, reply.bytes, reply.ends);
}

void test('what is rendered is what encodeTick writes, with true hashes and links, whatever the options', async (t) => {
  const options = fc.record({
    seed: fc.nat(2 ** 32 - 1),
    first: fc.bigInt({ min: 0n, max: 2n ** 64n - 600n }),
    txs: fc.constantFrom<number | 'mixed'>(0, 1, 2, 7, 'mixed'),
    payloadBytes: fc.constantFrom(0, 1, 28, 30, 525, 526, 528, 5000),
    hostile: fc.boolean(),
    oversize: fc.option(fc.record({ every: fc.bigInt({ min: 100n, max: 500n }), bytes: fc.nat(100_000) })),
    startMicros: fc.integer({ min: 1_009_843_200_000_000, max: 7_258_118_399_000_000 }),
    ticksPerSecond: fc.integer({ min: 1, max: 10_000_000 }),
    vdf: fc.constantFrom<'real' | 'fast'>('real', 'fast', 'fast', 'fast'),
    forkIndex: fc.option(fc.nat(600)),
  });
  fc.assert(
    fc.property(options, fc.constantFrom<0 | 1>(0, 1), (options, branch) => {
      const chunk = chunkOf(new ChunkMaker(options).make({ branch, chunk: 0 }));
      let previous = genesisOutput(options.seed).toString('hex');
      for (let index = 0; index < chunk.end; index++) {
        const message = chunk.message(index);
        const tick = decodeTick(message);
        deepStrictEqual(encodeTick(tick), new Uint8Array(message));
        deepStrictEqual(tick.tickNumber, options.first + BigInt(index));
        deepStrictEqual(tick.previousOutput, previous);
        const forked = branch === 1 && index >= (options.forkIndex ?? Infinity);
        deepStrictEqual(tick.transactions.length, transactionCount(options, tick.tickNumber, forked));
        const hashes = tick.transactions.map(({ transaction }) => txHash(transaction));
        deepStrictEqual(
          tick.transactions.map((ordered) => ordered.txHash),
          hashes.map((hash) => hash.toString('hex')),
        );
        const batch = batchHash(hashes);
        deepStrictEqual(tick.transactionBatchHash, batch.toString('hex'));
        const input = vdfInput(Buffer.from(previous, 'hex'), batch, tick.tickNumber);
        deepStrictEqual(tick.vdfProof.input, input.toString('hex'));
        deepStrictEqual(tick.vdfProof.output, vdfOutput(input, tick.vdfProof.iterations).toString('hex'));
        previous = tick.vdfProof.output;
      }
    }),
    { numRuns: 25 },
  );
  t.pass('held');
});

void test('a chunk has the same bytes in whatever order chunks are asked for, with however few checkpoints', async (t) => {
  const options = { ...OPTIONS, forkIndex: 2000 };
  const inOrder = ([0, 1] as const).map((branch) => {
    const maker = new ChunkMaker(options);
    return Array.from({ length: 12 }, (_, chunk) =>
      Buffer.from(maker.make({ branch, chunk }).bytes).toString('base64'),
    );
  });
  const request = fc.record({ branch: fc.constantFrom<0 | 1>(0, 1), chunk: fc.nat(11) });
  fc.assert(
    fc.property(
      fc.array(request, { minLength: 1, maxLength: 12 }),
      fc.constantFrom(1, 2, 5, 100),
      (requests, kept) => {
        const maker = new ChunkMaker(options, kept);
        for (const { branch, chunk } of requests) {
          const { bytes } = maker.make({ branch, chunk });
          if (Buffer.from(bytes).toString('base64') !== inOrder[branch][chunk]) return false;
        }
        return true;
      },
    ),
    { numRuns: 15 },
  );
  t.strictSame(inOrder[0].slice(0, 3), inOrder[1].slice(0, 3), 'both chains are the same before the fork');
  t.not(inOrder[0][3], inOrder[1][3], 'ticks 1536 to 2047 hold it');
  t.not(inOrder[0][4], inOrder[1][4]);
});

void test('a long way is told about, a step and a checkpoint are not', async (t) => {
  const maker = new ChunkMaker({ ...OPTIONS, txs: 0 });
  const passed: number[] = [];
  maker.make({ branch: 0, chunk: 3 }, (index) => passed.push(index));
  maker.make({ branch: 0, chunk: 4 }, (index) => passed.push(index));
  maker.make({ branch: 0, chunk: 1 }, (index) => passed.push(index));
  t.strictSame(passed, [0, 512, 1024]);
});

void test('chunks of large ticks have fewer of them', async (t) => {
  t.equal(chunkTicks({ ...OPTIONS, txs: 2 }), 512);
  t.equal(chunkTicks({ ...OPTIONS, txs: 1024 }), 4);
  t.equal(chunkTicks({ ...OPTIONS, oversize: { every: 1n, bytes: 70_000_000 } }), 1);
});
