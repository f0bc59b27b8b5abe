/**
 * How fast one warm thread turns frames into COPY bytes, and what CHAIN_CHECK adds to that:
 * `node bench/micro/transcode.ts [seconds per line]`. Each line has true, linked ticks with n transactions in shared memory, in spans of 1,000 that together are larger than a
 * core's caches, and sinks that are used again. The best of the rounds is printed, because on a machine with other work
 * the others measure that work; and the mean of the thread's CPU time, which is less disturbed by it.
 */
import { randomBytes } from 'node:crypto';
import { encodeTick } from '../../src/core/chain/encode.ts';
import { batchHash, txHash, vdfInput, vdfOutput } from '../../src/core/chain/hash.ts';
import type { OrderedTransaction, Tick } from '../../src/core/chain/tick.ts';
import { scanTickNumber } from '../../src/core/chain/wire.ts';
import { ByteSink } from '../../src/core/copy/sink.ts';
import { INDEX_WORDS, transcode, type FrameSpan } from '../../src/core/copy/transcode.ts';

const SPAN_TICKS = 1000;
const FIRST_TICK = 541_409_765n;
const START_MICROS = 1_755_945_303_178_360n;
const LIMITS = { nowMicros: START_MICROS + 1_000_000n, tickMaxBytes: 4 * 1024 * 1024 };
/** bytes of frames per line: more than a core's own caches, as frames come from another core in the daemon */
const DATA_BYTES = 8 * 1024 * 1024;

const secondsPerLine = Number(process.argv[2] ?? 2);

function transaction(number: bigint): OrderedTransaction {
  const transaction = {
    txId: Buffer.from(`frm_order_${number}_${START_MICROS}`),
    payload: randomBytes(520),
    signature: randomBytes(64),
    publicKey: randomBytes(32),
    nonce: number,
    timestamp: START_MICROS,
  };
  return {
    transaction,
    sequenceNumber: number,
    txHash: txHash(transaction).toString('hex'),
    ingestionTimestamp: START_MICROS,
  };
}

function createSpans(transactions: number): { spans: FrameSpan[]; frameBytes: number } {
  const spans: FrameSpan[] = [];
  let previousOutput = randomBytes(256).toString('hex');
  let number = FIRST_TICK;
  let bytesLeft = DATA_BYTES;
  let bytesTotal = 0;
  while (bytesLeft > 0) {
    const first = number;
    const frames = Array.from({ length: SPAN_TICKS }, () => {
      const ordered = Array.from({ length: transactions }, (_, i) => transaction(number * 10n + BigInt(i)));
      const batch = batchHash(ordered.map((one) => Buffer.from(one.txHash, 'hex')));
      const input = vdfInput(Buffer.from(previousOutput, 'hex'), batch, number);
      const output = vdfOutput(input, 27n).toString('hex');
      const tick: Tick = {
        tickNumber: number,
        vdfProof: { input: input.toString('hex'), output, proof: '01', iterations: 27n },
        transactions: ordered,
        transactionBatchHash: batch.toString('hex'),
        timestamp: START_MICROS,
        previousOutput,
      };
      previousOutput = output;
      number += 1n;
      return encodeTick(tick);
    });
    const spanBytes = frames.reduce((sum, frame) => sum + frame.length, 0);
    const bytes = new Uint8Array(new SharedArrayBuffer(spanBytes));
    const index = new Uint32Array(SPAN_TICKS * INDEX_WORDS);
    let offset = 0;
    frames.forEach((frame, i) => {
      bytes.set(frame, offset);
      index.set([offset, frame.length, 0], i * INDEX_WORDS);
      offset += frame.length;
    });
    spans.push({ bytes, index, count: SPAN_TICKS, firstHi: 0, firstLo: Number(first) });
    bytesLeft -= spanBytes;
    bytesTotal += spanBytes;
  }
  return { spans, frameBytes: bytesTotal / (spans.length * SPAN_TICKS) };
}

/** ns per tick: the best round over all spans, and CPU time; both without the first two rounds, which warm up. */
function nsPerTick(spans: FrameSpan[], run: (span: FrameSpan) => void): { best: number; cpu: number } {
  const rounds: number[] = [];
  let warmed = process.threadCpuUsage();
  const untilMs = performance.now() + secondsPerLine * 1000;
  while (rounds.length < 3 || performance.now() < untilMs) {
    const startMs = performance.now();
    for (const span of spans) run(span);
    rounds.push(((performance.now() - startMs) * 1e6) / (spans.length * SPAN_TICKS));
    if (rounds.length === 2) warmed = process.threadCpuUsage();
  }
  const warm = rounds.slice(2);
  const { user, system } = process.threadCpuUsage(warmed);
  const ticks = warm.length * spans.length * SPAN_TICKS;
  return { best: Math.min(...warm), cpu: ((user + system) * 1e3) / ticks };
}

function line(name: string, frameBytes: number, { best, cpu }: { best: number; cpu: number }): void {
  const rate = Math.round(1e9 / best)
    .toLocaleString('en')
    .padStart(11);
  console.log(
    `${name.padEnd(34)}${frameBytes.toFixed(0).padStart(7)} B ${rate} ticks/s ${best.toFixed(0).padStart(6)} ns/tick (CPU ${cpu.toFixed(0)})`,
  );
}

// In the daemon the sinks' memory travels between threads. The first transfer in a thread makes V8 check every access
// for detached memory from then on, so a benchmark without one would be too fast.
const travelled = new ArrayBuffer(8);
structuredClone(travelled, { transfer: [travelled] });

const sinks = { ticks: new ByteSink(), proofs: new ByteSink(), transactions: new ByteSink() };
for (const transactions of [0, 1, 2, 10]) {
  const { spans, frameBytes } = createSpans(transactions);
  for (const check of ['off', 'link', 'full'] as const) {
    const limits = { ...LIMITS, check };
    const speed = nsPerTick(spans, (span) => {
      const { ticks, alarms } = transcode(span, sinks, limits);
      if (ticks !== SPAN_TICKS || alarms.length > 0)
        throw new Error(`${ticks} good ticks, ${alarms.length} alarms`);
    });
    line(`transcode, ${transactions} transactions, ${check}`, frameBytes, speed);
  }
  if (transactions !== 2) continue;
  const number = new Uint32Array(2);
  const scan = nsPerTick(spans, ({ bytes, index }) => {
    for (let i = 0; i < SPAN_TICKS * INDEX_WORDS; i += INDEX_WORDS) {
      if (scanTickNumber(bytes, index[i], index[i] + index[i + 1], number) !== 0)
        throw new Error('malformed');
    }
  });
  line(`scanTickNumber, ${transactions} transactions`, frameBytes, scan);
}
