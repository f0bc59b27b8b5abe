import { decodeTick } from '../../core/chain/decode.ts';
import { encodeTick } from '../../core/chain/encode.ts';
import { batchHash, txHash, VDF_ITERATIONS_MAX, vdfInput, vdfOutput } from '../../core/chain/hash.ts';
import type { OrderedTransaction, Tick, Transaction } from '../../core/chain/tick.ts';
import type { MalformedForm, UntrueForm } from '../fault.ts';

/** 9999-12-31T23:59:59Z, µs since 1970 */
const FAR_FUTURE = 253_402_300_799_000_000n;
/** the first number that a bigint column cannot hold */
const ABOVE_INT64 = 2n ** 63n;
/** field 15 with wire type 7, which does not exist */
const IMPOSSIBLE_TAG = 0x7f;

/** A tick's protobuf bytes with one thing wrong. */
export function malformTick(message: Uint8Array, form: MalformedForm): Uint8Array {
  return MALFORMERS[form](message);
}

const MALFORMERS: Readonly<Record<MalformedForm, (message: Uint8Array) => Uint8Array>> = {
  // Inside vdf_proof: some decoders accept a truncated last string, none a truncated embedded message.
  truncated: (message) =>
    changed(message, (tick) => {
      tick.transactions = [];
      Object.assign(tick, { transactionBatchHash: '', timestamp: 0n, previousOutput: '' });
    }).subarray(0, -1),
  'wire-type': (message) => Buffer.concat([Uint8Array.of(IMPOSSIBLE_TAG), message]),
  'batch-hash': (message) => changed(message, (tick) => (tick.transactionBatchHash = 'z'.repeat(64))),
  'tx-hash': (message) => changed(message, (tick) => (firstTransaction(tick).txHash = 'ab'.repeat(31))),
  timestamp: (message) => changed(message, (tick) => (tick.timestamp = FAR_FUTURE)),
  number: (message) => changed(message, (tick) => (tick.tickNumber |= ABOVE_INT64)),
  iterations: (message) => changed(message, (tick) => (tick.vdfProof.iterations = ABOVE_INT64)),
  sequence: (message) => changed(message, (tick) => tick.transactions.push(firstTransaction(tick))),
  nul: (message) => changed(message, (tick) => (tick.transactionBatchHash = `${'0'.repeat(63)}\0`)),
  'previous-output': (message) =>
    changed(message, (tick) => (tick.previousOutput = `0x${tick.previousOutput.slice(2)}`)),
};

/** A tick's protobuf bytes with one statement false; the rest of it stays as it was. */
export function falsifyTick(message: Uint8Array, form: UntrueForm): Uint8Array {
  return changed(message, FALSIFIERS[form]);
}

const FALSIFIERS: Readonly<Record<UntrueForm, (tick: Tick) => unknown>> = {
  link: (tick) => (tick.previousOutput = otherHex(tick.previousOutput)),
  'tx-hash': (tick) => {
    const transaction = firstTransaction(tick);
    transaction.txHash = otherHex(transaction.txHash);
  },
  'batch-hash': (tick) => (tick.transactionBatchHash = otherHex(tick.transactionBatchHash)),
  'vdf-input': (tick) => (tick.vdfProof.input = otherHex(tick.vdfProof.input)),
  'vdf-output': (tick) => (tick.vdfProof.output = otherHex(tick.vdfProof.output)),
};

/** Changes the last digit. */
function otherHex(digits: string): string {
  return `${digits.slice(0, -1)}${digits.endsWith('0') ? '1' : '0'}`;
}

/** The same tick number with another transaction, everything in it true to the formulas. */
export function rewriteTick(message: Uint8Array): Uint8Array {
  return changed(message, (tick) => {
    tick.timestamp += 1n;
    tick.transactions = [ordered({ ...madeUp(tick), payload: Buffer.from('rewritten') }, tick)];
    const batch = batchHash(tick.transactions.map((transaction) => Buffer.from(transaction.txHash, 'hex')));
    const input = vdfInput(Buffer.from(tick.previousOutput, 'hex'), batch, tick.tickNumber);
    tick.transactionBatchHash = batch.toString('hex');
    tick.vdfProof.input = input.toString('hex');
    if (tick.vdfProof.iterations > VDF_ITERATIONS_MAX) tick.vdfProof.iterations = 0n; // only in a replayed file
    tick.vdfProof.output = vdfOutput(input, tick.vdfProof.iterations).toString('hex');
  });
}

function changed(message: Uint8Array, change: (tick: Tick) => unknown): Uint8Array {
  const tick = decodeTick(message);
  change(tick);
  return encodeTick(tick);
}

/** An empty tick gets a transaction, because there is nothing else to be wrong with. */
function firstTransaction(tick: Tick): OrderedTransaction {
  if (tick.transactions.length === 0) tick.transactions.push(ordered(madeUp(tick), tick));
  return tick.transactions[0];
}

function madeUp(tick: Tick): Transaction {
  return {
    txId: Buffer.from(`made_up_${tick.tickNumber}`),
    payload: Buffer.from('made up'),
    signature: Buffer.alloc(64, 1),
    publicKey: Buffer.alloc(32, 2),
    nonce: 1n,
    timestamp: tick.timestamp,
  };
}

function ordered(transaction: Transaction, tick: Tick): OrderedTransaction {
  return {
    transaction,
    sequenceNumber: 0n,
    txHash: txHash(transaction).toString('hex'),
    ingestionTimestamp: tick.timestamp,
  };
}
