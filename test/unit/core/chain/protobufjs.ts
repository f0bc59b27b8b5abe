/**
 * The proto file as protobuf.js understands it, to check our own reader and writer against, and ticks over the full range
 * of every field. tx_id is declared as bytes here, because ours keeps bytes that are no UTF-8.
 */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import protobuf from 'protobufjs';
import type { Tick } from '../../../../src/core/chain/tick.ts';

const proto = readFileSync(new URL('../../../../proto/continuum.proto', import.meta.url), 'utf8');
const { root } = protobuf.parse(proto.replace('string tx_id', 'bytes tx_id'), { keepCase: true });

export const TickType = root.lookupType('continuum.sequencer.v1.Tick');

const u64 = fc.oneof(
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  fc.constantFrom(
    0n,
    1n,
    127n,
    128n,
    2n ** 32n - 1n,
    2n ** 32n,
    2n ** 53n,
    2n ** 63n - 1n,
    2n ** 63n,
    2n ** 64n - 1n,
  ),
);
// text that UTF-8 can carry: no lone surrogates
const text = fc.string({ unit: 'binary', maxLength: 40 }).filter((value) => value.isWellFormed());
const bytes = fc.uint8Array({ maxLength: 200 });

export const anyTick: fc.Arbitrary<Tick> = fc.record({
  tickNumber: u64,
  vdfProof: fc.record({ input: text, output: text, proof: text, iterations: u64 }),
  transactions: fc.array(
    fc.record({
      transaction: fc.record({
        txId: bytes,
        payload: bytes,
        signature: bytes,
        publicKey: bytes,
        nonce: u64,
        timestamp: u64,
      }),
      sequenceNumber: u64,
      txHash: text,
      ingestionTimestamp: u64,
    }),
    { maxLength: 4 },
  ),
  transactionBatchHash: text,
  timestamp: u64,
  previousOutput: text,
});

/** A tick in the names and types of protobuf.js's toObject with longs as strings and bytes as Buffers. */
export function plainTick(tick: Tick): Record<string, unknown> {
  return {
    transactions: tick.transactions.map((ordered) => ({
      transaction: {
        tx_id: Buffer.from(ordered.transaction.txId),
        payload: Buffer.from(ordered.transaction.payload),
        signature: Buffer.from(ordered.transaction.signature),
        public_key: Buffer.from(ordered.transaction.publicKey),
        nonce: String(ordered.transaction.nonce),
        timestamp: String(ordered.transaction.timestamp),
      },
      sequence_number: String(ordered.sequenceNumber),
      tx_hash: ordered.txHash,
      ingestion_timestamp: String(ordered.ingestionTimestamp),
    })),
    tick_number: String(tick.tickNumber),
    vdf_proof: { ...tick.vdfProof, iterations: String(tick.vdfProof.iterations) },
    transaction_batch_hash: tick.transactionBatchHash,
    timestamp: String(tick.timestamp),
    previous_output: tick.previousOutput,
  };
}
