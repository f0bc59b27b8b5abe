import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { test } from 'tap';
import {
  batchHash,
  txHash,
  VDF_ITERATIONS_MAX,
  VDF_MODULUS_HEX,
  vdfInput,
  vdfOutput,
  vdfSeed,
} from '../../../../src/core/chain/hash.ts';
import { parseTickJson } from '../../../../src/core/chain/tick-json.ts';
import { realTicks } from '../../../support/chain/content/real-ticks.ts';

const { skip } = realTicks;

void test('the formulas give every hash and output of the real ticks', { skip }, async (t) => {
  const ticks = readFileSync(realTicks.path, 'utf8').trim().split('\n').map(parseTickJson);
  t.equal(ticks.length, 3);
  for (const tick of ticks) {
    const hashes = tick.transactions.map(({ transaction }) => txHash(transaction));
    t.strictSame(
      hashes.map((hash) => hash.toString('hex')),
      tick.transactions.map((ordered) => ordered.txHash),
    );
    const batch = batchHash(hashes);
    t.equal(batch.toString('hex'), tick.transactionBatchHash);
    const input = vdfInput(Buffer.from(tick.previousOutput, 'hex'), batch, tick.tickNumber);
    t.equal(input.toString('hex'), tick.vdfProof.input);
    t.equal(tick.vdfProof.iterations, 27n);
    t.equal(vdfOutput(input, tick.vdfProof.iterations).toString('hex'), tick.vdfProof.output);
  }
});

// The expected values below were computed by Python's hashlib and pow().
const FIRST = {
  txId: Buffer.from('caf\u00e9\0', 'utf8'),
  payload: Buffer.from('payload'),
  signature: Buffer.from(Array.from({ length: 64 }, (_, i) => i)),
  publicKey: Buffer.from(Array.from({ length: 32 }, (_, i) => i)),
  nonce: 2n ** 64n - 1n,
  timestamp: 1_755_945_303_176_240n,
};
const NONE = new Uint8Array(0);
const SECOND = {
  txId: Buffer.from([0xff, 0xfe]),
  payload: NONE,
  signature: NONE,
  publicKey: NONE,
  nonce: 0n,
  timestamp: 2n ** 63n,
};
const INPUT = 'cc125caafee3ad84dbc584fd02a83df1af53641b4210bb323aa74424387c2c83';

void test('hashes of two transactions, of their batch, of an empty batch, and the VDF input', async (t) => {
  t.equal(txHash(FIRST).toString('hex'), '3816982b0e83b8dd8d730ac300dbb9a2c4e5980c88565a4f3d3c8798b57fe75a');
  t.equal(txHash(SECOND).toString('hex'), '98ae348d783d854679bacf0f7135e69d4335d349036aa91d2624ae9a8c2a1dba');
  const batch = batchHash([txHash(FIRST), txHash(SECOND)]);
  t.equal(batch.toString('hex'), 'd3b52db2d282465617e7e5c9f864d71be31f75138865a9e8d72b805951cb6f66');
  t.equal(batchHash([]).toString('hex'), 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
  t.equal(vdfInput(Buffer.alloc(256, 1), batch, 2n ** 63n).toString('hex'), INPUT);
});

void test('VDF outputs for few and for many iterations', async (t) => {
  const expected: [bigint, string, string][] = [
    [0n, '53bb782b58abf67f0a3d01fae0b4ad6d8f71603a796c58d07aca683fb1e608df', '295909dd3ade746d'],
    [1n, 'af2289c69fd05eba19aa042d6710aa51782c722d4110ee076bff59ff969c7c3a', '33983c4185fef669'],
    [27n, '366e2c07b2e8a1ebd0d2aac19490d50a9f7a8147cc1db75cb51147190522c0ca', '28043f02caa68d10'],
    [1500n, '741a931a2716f3c1c8077c92cb3ebcc047a85be0d6b0430f19bce49404d91c0f', 'c730d3661ded48f7'],
    [3000n, '4c5f2af5f6a046d2ff839e5f83ebd22196324e600a14f4fb6d0be7a9d8e847ce', 'e80754f7a7051df5'],
  ];
  for (const [iterations, digest, end] of expected) {
    const output = vdfOutput(Buffer.from(INPUT, 'hex'), iterations);
    t.equal(output.length, 256);
    t.equal(createHash('sha256').update(output).digest('hex'), digest);
    t.equal(output.toString('hex').slice(-16), end);
  }
});

void test('the seed is the hash of the input with its lowest bit set, in 256 bytes', async (t) => {
  // the hash of 32 bytes of 2 is even: 7587...ca4a
  t.equal(
    vdfSeed(Buffer.alloc(32, 2)).toString('hex'),
    '0'.repeat(448) + '75877bb41d393b5fb8455ce60ecd8dda001d06316496b14dfa7f895656eeca4b',
  );
});

void test('OpenSSL squares as BigInt does', async (t) => {
  const modulus = BigInt(`0x${VDF_MODULUS_HEX}`);
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      fc.integer({ min: 0, max: 1100 }),
      (input, iterations) => {
        let value = BigInt(`0x${vdfSeed(input).toString('hex')}`);
        for (let i = 0; i < iterations; i++) value = (value * value) % modulus;
        return vdfOutput(input, BigInt(iterations)).toString('hex') === value.toString(16).padStart(512, '0');
      },
    ),
    { numRuns: 30 },
  );
  t.pass('held');
});

void test('more iterations than can be waited for are refused', async (t) => {
  const input = Buffer.alloc(32);
  t.throws(() => vdfOutput(input, VDF_ITERATIONS_MAX + 1n), RangeError);
  t.throws(() => vdfOutput(input, 2n ** 64n - 1n), RangeError);
  t.throws(() => vdfOutput(input, -1n), RangeError);
});
