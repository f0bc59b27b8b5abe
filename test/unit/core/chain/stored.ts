/** Ticks as they are stored, made by the formulas of the oracle and not by those under test. */
import { batchHashOf, txHashOf, vdfInputOf, vdfOutputOf } from '../../../support/chain/content/expected.ts';
import type { StoredTick, StoredTransaction } from '../../../../src/core/chain/verify/verify.ts';
import type { Transaction } from '../../../../src/core/chain/tick.ts';

export interface Made {
  tick: StoredTick;
  /** hex text of the output of the tick before */
  before: Buffer;
}

export const TIME = 1_755_945_303_178_360n;

export function hex(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}

/** A true tick with so many transactions. */
export function makeTick(number: bigint, count: number, iterations = 27n): Made {
  const before = Buffer.alloc(256, 0xa1).toString('hex');
  const transactions = Array.from({ length: count }, (_, place) => makeTransaction(number, place));
  const hashes = transactions.map(({ txHash }) => ({ txHash: txHash.toString('latin1') }));
  const batch = batchHashOf(hashes);
  const input = vdfInputOf(before, batch, number);
  return {
    tick: {
      tickNumber: number,
      timestamp: TIME,
      batchHash: hex(batch),
      previousOutput: hex(before),
      input: hex(input),
      output: hex(vdfOutputOf(input, iterations)),
      iterations,
      transactions,
    },
    before: hex(before),
  };
}

function makeTransaction(number: bigint, place: number): StoredTransaction {
  const transaction: Transaction = {
    txId: Buffer.from(`order ${number} ${place} ✓`),
    payload: Buffer.from(`FRM_v1.0:{"at":${place}}`),
    signature: Buffer.alloc(64, place + 1),
    publicKey: Buffer.alloc(32, place + 7),
    nonce: 2n ** 64n - 1n - BigInt(place),
    timestamp: TIME - 1000n,
  };
  const { txId, payload, signature, publicKey, nonce, timestamp } = transaction;
  const hash = txHashOf({
    txId: Buffer.from(txId),
    payload: Buffer.from(payload),
    signature: Buffer.from(signature),
    publicKey: Buffer.from(publicKey),
    nonce,
    timestamp,
    sequenceNumber: 0n,
    ingestionTimestamp: 0n,
  });
  return { sequenceNumber: BigInt(place * 10), txHash: hex(hash), tickTimestamp: TIME, transaction };
}
