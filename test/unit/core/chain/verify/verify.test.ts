import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { test } from 'tap';
import { parseTickJson } from '../../../../../src/core/chain/tick-json.ts';
import { verifyTick, type StoredTick } from '../../../../../src/core/chain/verify/verify.ts';
import { hex, makeTick } from '../stored.ts';
import { realTicks } from '../../../../support/chain/content/real-ticks.ts';

const { skip } = realTicks;

/** Kinds of what is found, in order. */
function kinds(tick: StoredTick, before: Buffer | null, withVdf = true): string[] {
  return verifyTick(tick, before, withVdf).map(({ kind }) => kind);
}

/** A copy with bit `bit` of the bytes turned over. */
function turned(bytes: Uint8Array, bit: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[bit >> 3] ^= 1 << (bit & 7);
  return copy;
}

function upper(text: Buffer): Buffer {
  return hex(text.toString('latin1').toUpperCase());
}

void test('the real ticks are true, and no longer when a bit is another', { skip }, async (t) => {
  const ticks = readFileSync(realTicks.path, 'utf8').trim().split('\n').map(parseTickJson);
  for (const real of ticks) {
    const stored: StoredTick = {
      tickNumber: real.tickNumber,
      timestamp: real.timestamp,
      batchHash: hex(real.transactionBatchHash),
      previousOutput: hex(real.previousOutput),
      input: hex(real.vdfProof.input),
      output: hex(real.vdfProof.output),
      iterations: real.vdfProof.iterations,
      transactions: real.transactions.map((ordered) => ({
        sequenceNumber: ordered.sequenceNumber,
        txHash: hex(ordered.txHash),
        tickTimestamp: real.timestamp,
        transaction: ordered.transaction,
      })),
    };
    t.strictSame(kinds(stored, null), []);
    t.strictSame(kinds(stored, hex(real.previousOutput)), []);
    t.strictSame(kinds({ ...stored, previousOutput: null }, hex(real.previousOutput)), []);
    t.strictSame(kinds({ ...stored, tickNumber: stored.tickNumber ^ 1n }, null), ['vdf_input']);
    t.strictSame(kinds({ ...stored, iterations: 26n }, null), ['vdf_output']);
  }
});

void test('a true tick has no finding, with any number of transactions in any order', async (t) => {
  for (const count of [0, 1, 2, 5]) {
    const { tick, before } = makeTick(541_409_765n, count);
    t.strictSame(kinds(tick, before), [], `${count} transactions`);
    t.strictSame(kinds({ ...tick, transactions: tick.transactions.toReversed() }, before), []);
    t.strictSame(kinds(tick, null), [], 'the output before is unknown');
    t.strictSame(kinds({ ...tick, previousOutput: null }, before), [], 'it was left out');
  }
  for (const number of [0n, 2n ** 63n - 1n]) {
    const { tick, before } = makeTick(number, 1, 0n);
    t.strictSame(kinds(tick, before), [], 'without squarings');
  }
});

void test('every bit of every run of bytes counts, and is found as what it is', async () => {
  const { tick, before } = makeTick(77n, 2);
  const runs = {
    batch_hash: tick.batchHash,
    link: tick.previousOutput!,
    vdf_input: tick.input,
    vdf_output: tick.output,
  };
  const asTick = (kind: keyof typeof runs, bytes: Buffer): StoredTick => {
    const column = {
      batch_hash: 'batchHash',
      link: 'previousOutput',
      vdf_input: 'input',
      vdf_output: 'output',
    }[kind];
    return { ...tick, [column]: bytes };
  };
  fc.assert(
    fc.property(fc.constantFrom(...(Object.keys(runs) as (keyof typeof runs)[])), fc.nat(), (kind, place) => {
      const bytes = runs[kind];
      const found = kinds(asTick(kind, turned(bytes, place % (8 * bytes.length))), before);
      return found.length === 1 && found[0] === kind;
    }),
    { numRuns: 400 },
  );
  const transaction = tick.transactions[1].transaction!;
  fc.assert(
    fc.property(fc.constantFrom('txId', 'payload', 'signature', 'publicKey'), fc.nat(), (name, place) => {
      const bytes = transaction[name as 'txId'];
      const changed = { ...transaction, [name]: turned(bytes, place % (8 * bytes.length)) };
      const transactions = [tick.transactions[0], { ...tick.transactions[1], transaction: changed }];
      const found = kinds({ ...tick, transactions }, before, false);
      return found.length === 1 && found[0] === 'tx_hash';
    }),
    { numRuns: 200 },
  );
  fc.assert(
    fc.property(fc.constantFrom('nonce', 'timestamp'), fc.integer({ min: 0, max: 63 }), (name, bit) => {
      const changed = { ...transaction, [name]: transaction[name as 'nonce'] ^ (1n << BigInt(bit)) };
      const transactions = [tick.transactions[0], { ...tick.transactions[1], transaction: changed }];
      const found = kinds({ ...tick, transactions }, before, false);
      return found.length === 1 && found[0] === 'tx_hash';
    }),
  );
});

void test('transactions: hash, order, a missing one, one of another time, columns that make none', async (t) => {
  const { tick, before } = makeTick(78n, 3);
  const [a, b, c] = tick.transactions;
  const with_ = (...transactions: StoredTick['transactions']): string[] =>
    kinds({ ...tick, transactions }, before);
  t.strictSame(with_(a, b, { ...c, txHash: turned(c.txHash, 0) }), ['tx_hash']);
  t.strictSame(with_(a, { ...b, transaction: null }, c), ['tx_hash']);
  t.strictSame(with_(a, { ...b, txHash: hex('00') }, c), ['tx_hash']);
  t.strictSame(with_({ ...a, sequenceNumber: 99n }, b, c), ['batch_hash']);
  t.strictSame(with_({ ...a, sequenceNumber: 1n }, b, c), [], 'the order is what counts');
  t.strictSame(with_(a, c), ['batch_hash']);
  t.strictSame(with_(a, b, { ...c, tickTimestamp: c.tickTimestamp + 1n }), ['missing']);
  t.strictSame(with_({ ...a, txHash: b.txHash }, b, c), ['tx_hash']);
  // a forged transaction with a hash of its own fits neither batch_hash
  const forged = { ...makeTick(79n, 1).tick.transactions[0], sequenceNumber: a.sequenceNumber };
  t.strictSame(with_(forged, b, c), ['batch_hash']);
  // two faults are two findings
  t.strictSame(
    kinds(
      {
        ...tick,
        batchHash: turned(tick.batchHash, 0),
        input: turned(tick.input, 0),
        output: turned(tick.output, 0),
      },
      before,
    ),
    ['batch_hash', 'vdf_input', 'vdf_output'],
  );
});

void test('links: to another output, to none, and which of two outputs is false when one was left out', async (t) => {
  const { tick, before } = makeTick(80n, 1);
  const other = turned(before, 0);
  t.strictSame(kinds(tick, other), ['link'], 'the tick itself is true');
  t.strictSame(kinds({ ...tick, previousOutput: other }, before), ['link']);
  t.strictSame(kinds({ ...tick, previousOutput: other }, null), ['vdf_input'], 'nothing to compare it with');
  const without = { ...tick, previousOutput: null };
  t.strictSame(kinds(without, null), ['link'], 'left out, and not stored either');
  t.strictSame(kinds(without, other), ['link'], 'the output proves the input');
  t.strictSame(kinds(without, other, false), ['vdf_input'], 'without it either may be false');
  t.strictSame(kinds({ ...without, input: turned(tick.input, 0) }, before), ['vdf_input']);
});

void test('VDF: outputs without recomputing, iterations that are too many or none', async (t) => {
  const { tick, before } = makeTick(81n, 0);
  t.strictSame(kinds({ ...tick, output: turned(tick.output, 9) }, before, false), []);
  t.strictSame(kinds({ ...tick, iterations: 1_000_001n }, before), ['vdf_unverifiable']);
  t.strictSame(kinds({ ...tick, iterations: 2n ** 63n - 1n }, before), ['vdf_unverifiable']);
  t.strictSame(kinds({ ...tick, iterations: -1n }, before), ['vdf_output']);
  t.strictSame(kinds({ ...tick, iterations: 28n }, before), ['vdf_output']);
  t.strictSame(kinds({ ...tick, input: hex('') }, before), ['vdf_input']);
  t.strictSame(kinds({ ...tick, output: hex('') }, before), ['vdf_output']);
});

void test('hex is bytes: either case, but not both in one value', async (t) => {
  const { tick, before } = makeTick(82n, 1);
  const shouted: StoredTick = {
    ...tick,
    batchHash: upper(tick.batchHash),
    previousOutput: upper(tick.previousOutput!),
    input: upper(tick.input),
    output: upper(tick.output),
    transactions: tick.transactions.map((one) => ({ ...one, txHash: upper(one.txHash) })),
  };
  t.strictSame(kinds(shouted, before), []);
  t.strictSame(kinds({ ...shouted, previousOutput: null }, upper(before)), []);
  const letter = tick.input.findIndex((byte) => byte > 0x60);
  t.strictSame(kinds({ ...tick, input: turned(tick.input, 8 * letter + 5) }, before), ['vdf_input']);
});
