import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'tap';
import { decodeTick } from '../../../../src/core/chain/decode.ts';
import { compareTicks, differingFields, fieldsText, tickDigest } from '../../../../src/core/chain/digest.ts';
import type { Tick } from '../../../../src/core/chain/tick.ts';
import { allTicks, chainSpec } from '../../../support/chain/content/expected.ts';
import { wireTick } from '../../../support/chain/content/wire.ts';

const expected = allTicks(chainSpec({ seed: 5, txs: 3, hostile: true }), 3).get(2n)!;
const read = (): Tick => decodeTick(wireTick(expected));

void test('the digest is that of the canonical bytes', async () => {
  const digest = createHash('sha256').update(wireTick(expected)).digest('hex');
  assert.equal(tickDigest(read()).toString('hex'), digest);
});

void test('neither unknown fields nor the order of the transactions matter', async (t) => {
  const unknown = Buffer.concat([wireTick(expected), Buffer.from([0x7a, 0x02, 0x68, 0x69])]);
  t.same(tickDigest(decodeTick(unknown)), tickDigest(read()));
  const tick = read();
  tick.transactions.reverse();
  t.same(tickDigest(tick), tickDigest(read()));
  t.same(differingFields(tick, read()), []);
});

void test('every field matters and is named', async (t) => {
  const changes: Record<string, (tick: Tick) => void> = {
    tick_number: (tick) => (tick.tickNumber += 1n),
    timestamp: (tick) => (tick.timestamp += 1n),
    transaction_batch_hash: (tick) => (tick.transactionBatchHash = 'ab'.repeat(32)),
    previous_output: (tick) => (tick.previousOutput = ''),
    'vdf_proof.input': (tick) => (tick.vdfProof.input = ''),
    'vdf_proof.output': (tick) => (tick.vdfProof.output = ''),
    'vdf_proof.proof': (tick) => (tick.vdfProof.proof += '00'),
    'vdf_proof.iterations': (tick) => (tick.vdfProof.iterations += 1n),
    transactions: (tick) => tick.transactions.pop(),
    'transactions[1].tx_hash': (tick) => (tick.transactions[1].txHash = ''),
    'transactions[1].ingestion_timestamp': (tick) => (tick.transactions[1].ingestionTimestamp += 1n),
    'transactions[1].tx_id': (tick) => (tick.transactions[1].transaction.txId = Buffer.from('x')),
    'transactions[1].payload': (tick) => (tick.transactions[1].transaction.payload = Buffer.from('x')),
    'transactions[1].signature': (tick) => (tick.transactions[1].transaction.signature = Buffer.from('x')),
    'transactions[1].public_key': (tick) => (tick.transactions[1].transaction.publicKey = Buffer.from('x')),
    'transactions[1].nonce': (tick) => (tick.transactions[1].transaction.nonce ^= 1n),
    'transactions[1].timestamp': (tick) => (tick.transactions[1].transaction.timestamp ^= 1n),
  };
  for (const [name, change] of Object.entries(changes)) {
    const tick = read();
    change(tick);
    t.same(differingFields(read(), tick), [name]);
    t.notSame(tickDigest(tick), tickDigest(read()), name);
  }
  const last = read();
  last.transactions[2].sequenceNumber += 1n;
  t.same(differingFields(read(), last), ['transactions[2].sequence_number']);
});

void test('a comparison has both digests, and fields only of ticks that differ', async (t) => {
  t.same(compareTicks(read(), read()), {
    isEqual: true,
    received: tickDigest(read()),
    stored: tickDigest(read()),
    fields: [],
  });
  const other = { ...read(), timestamp: 1n, previousOutput: '' };
  t.same(compareTicks(other, read()), {
    isEqual: false,
    received: tickDigest(other),
    stored: tickDigest(read()),
    fields: ['timestamp', 'previous_output'],
  });
});

void test('names of fields beyond a few are counted', async (t) => {
  t.equal(fieldsText(['a', 'b', 'c'], 3), 'a, b, c');
  t.equal(fieldsText(['a', 'b', 'c'], 2), 'a, b and 1 more');
});
